//! The facade under another name.

use tl::{TaskError, task, threads};

#[task(crate = "::tl")]
fn greet(name: String) -> String {
    format!("hello, {name}")
}

fn main() -> Result<(), TaskError> {
    tl::init();
    println!("renamed: {}", threads::pool().build()?.submit(greet::task("you".to_owned()))?.join()?);
    Ok(())
}
