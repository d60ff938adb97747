//! What learners of metrics ask of the data again and again: near rows of the own and of other classes, their chances to be
//! drawn, margins of triplets, distances of pairs, impostors and radii before labelled points with their gradients, steps
//! of Adam, and projections onto bounds.
//!
//! Nothing here is proven: a learned metric is a number like any other, and the certifier says what it is worth.

pub mod adam;
pub mod bregman;
mod candidates;
pub mod components_analysis;
mod drift;
pub mod envelope;
mod images;
mod impostor_pairs;
mod impostor_search;
mod impostor_sums;
pub mod impostors;
mod lists;
mod look;
mod near_images;
pub mod neighborhood;
pub mod objective;
mod outer;
pub mod pairs;
pub mod radius;
pub mod reference;
mod scan;
mod single;
