//! Over data sets: the prepared training rows, lower bounds that skip most of them, nearest neighbours,
//! places in rankings.

pub mod arrange;
pub mod distance;
pub mod duplicates;
pub mod embed;
pub mod index;
pub mod ladder;
pub mod neighbors;
pub mod pairwise;
pub mod retrieval;
pub mod scan;
