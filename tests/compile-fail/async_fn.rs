use taskloom_core::{inline, task};

#[task]
async fn fetch(url: String) -> Result<u64, std::io::Error> {
    Ok(url.len() as u64)
}

fn main() {
    let pool = inline::pool().build().unwrap();
    let bytes: u64 = pool.submit(fetch::task("a".to_owned())).unwrap().join().unwrap();
    println!("{bytes}");
}
