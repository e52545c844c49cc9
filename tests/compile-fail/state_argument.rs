use taskloom_core::task;

struct Path(String);

#[task(state)]
fn model(path: Path) -> usize {
    path.0.len()
}

fn main() {
    let _ = model::task(Path(String::new()));
}
