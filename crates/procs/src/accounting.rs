//! What processes cost, for programs that start some of their own beside the pool.

pub use crate::os::{
    memory::{OomKills, held},
    process::cpu_time_of_reaped,
};
