//! What learners of metrics ask of the data again and again: near rows of the own and of other classes, and margins
//! of triplets with their gradients.
//!
//! Nothing here is proven: a learned metric is a number like any other, and the certifier says what it is worth.

pub mod neighborhood;
pub mod objective;
mod scan;
