use taskloom_core::task;

#[task]
unsafe extern "C" fn sum(count: usize, _: ...) -> usize {
    count
}

fn main() {
    let _ = sum::task(1);
}
