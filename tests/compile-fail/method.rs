use taskloom_core::task;

struct Server;

impl Server {
    #[task]
    fn answer(&self, question: String) -> usize {
        question.len()
    }
}

fn main() {
    Server.answer(String::new());
}
