//! A worker's state is made where it stays.

use taskloom_core::{inline, task};

#[task(state)]
fn load() -> u8 {
    1
}

fn main() {
    let pool = inline::pool().init(load::task()).build().unwrap();
    let _ = pool.submit(load::task());
}
