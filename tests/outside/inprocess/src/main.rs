//! Built with an ipc-channel that reaches no other process.

use std::{fs::OpenOptions, io::Write};

use taskloom_core::task;

#[task]
fn answer() -> u32 {
    42
}

fn main() {
    let path = std::env::var_os("STARTS").expect("a file");
    let mut starts = OpenOptions::new().create(true).append(true).open(path).expect("it can be written");
    starts.write_all(b"started\n").expect("it can be written");
    taskloom_procs::init();
    println!("{}", taskloom_procs::pool().workers(4).build().unwrap_err());
    println!("{}", taskloom_procs::spawn(answer::task()).unwrap().join().unwrap());
}
