//! Does not call `init`: a worker of this program would run all of it once more, and build a pool again.

use std::{fs::OpenOptions, io::Write};

use taskloom_core::task;

#[task]
fn answer() -> u32 {
    42
}

fn main() {
    let path = std::env::args_os().nth(1).expect("a file");
    let mut starts = OpenOptions::new().create(true).append(true).open(path).expect("it can be written");
    starts.write_all(b"started\n").expect("it can be written");
    println!("{}", taskloom_procs::pool().workers(4).build().unwrap_err());
    println!("{}", taskloom_procs::spawn(answer::task()).unwrap_err());
}
