use taskloom_core::task;

#[task(local, state)]
fn both() {}

#[task(fallible, plain)]
fn either() -> Result<(), String> {
    Ok(())
}

#[task(name)]
fn unnamed() {}

#[task(name = "two words")]
fn spaced() {}

#[task(version = -1)]
fn negative() {}

#[task(version = 1, version = 2)]
fn twice() {}

#[task(local = true)]
fn valued() {}

#[task(local, name = "x")]
fn unfindable() {}

#[task(state, version = 2)]
fn unrecorded() {}

fn main() {}
