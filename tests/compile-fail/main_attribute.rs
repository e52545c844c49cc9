#[taskloom_core::main]
fn start() {}

#[taskloom_core::main(runtime = "x")]
fn other() {}

#[taskloom_core::main(crate = "::taskloom_core")]
async fn main() {}
