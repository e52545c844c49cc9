//! The facade without threads, edition 2021, `#[taskloom::main]`.

use std::path::PathBuf;

use taskloom::{procs, task};

#[task]
fn size(path: PathBuf) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

#[taskloom::main]
fn main() -> anyhow::Result<()> {
    let pool = procs::pool().workers(2).build()?;
    let sizes: Vec<u64> = pool.map(["/proc/self/exe", "/dev/null"].map(PathBuf::from).map(size::task)).collect::<Result<_, _>>()?;
    assert!(sizes[0] > 0 && sizes[1] == 0);
    let missing = pool.submit(size::task("/no/such/file".into()))?.join().unwrap_err();
    println!("facade: {missing}");
    Ok(())
}
