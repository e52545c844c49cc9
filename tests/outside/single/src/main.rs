//! Core and one backend crate, nothing else.

use taskloom_core::{Context, TaskError, task};

#[task]
fn add(cx: &Context, a: u32, b: u32) -> Result<u32, String> {
    if cx.attempt() == 1 { a.checked_add(b).ok_or_else(|| "too big".to_owned()) } else { Err("again?".to_owned()) }
}

fn main() -> Result<(), TaskError> {
    taskloom_procs::init();
    let pool = taskloom_procs::pool().workers(1).build()?;
    assert!(matches!(pool.submit(add::task(u32::MAX, 1))?.join(), Err(TaskError::Failed(f)) if f.message == "too big"));
    println!("single: {}", pool.submit(add::task(40, 2))?.join()?);
    pool.join();
    Ok(())
}
