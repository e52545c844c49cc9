//! Tasks of all the odd shapes that functions have, run inline; and what the registry knows of them.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
};

use taskloom_core::{
    Codec, Context, Data, Encoded, InProcess, Payload, Pool, PortableTask, Postcard, Registry, TaskDef, TaskError,
    inline, register, task,
};

fn pool() -> Pool<impl InProcess> {
    inline::pool().build().unwrap()
}

fn def(name: &str) -> &'static TaskDef {
    Registry::get().find(name).unwrap().1
}

fn params(name: &str) -> Vec<(&'static str, &'static str)> {
    def(name).params().iter().map(|param| (param.name, param.ty)).collect()
}

fn failure(outcome: Result<impl fmt::Debug, TaskError>) -> String {
    match outcome.unwrap_err() {
        TaskError::Failed(failure) => {
            std::iter::once(failure.message.as_str()).chain(failure.causes()).collect::<Vec<_>>().join(" < ")
        }
        other => panic!("{other:?}"),
    }
}

/// Adds
/// two numbers.
///
/// Not in the summary.
#[task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[test]
fn a_task_is_still_a_function() {
    assert_eq!(add(1, 2), 3);
    assert_eq!(pool().submit(add::task(1, 2)).unwrap().join().unwrap(), 3);
    assert_eq!(format!("{:?}", add::task(1, 2)), "add { .. }");
}

#[test]
fn the_registry_knows_names_places_and_documentation() {
    let def = def("add");
    assert_eq!((def.name(), def.short_name(), def.version()), ("tasks::add", "add", 0));
    assert_eq!((def.output(), def.doc()), ("u64", "Adds two numbers."));
    assert_eq!(def.place().package.0, "taskloom-tests");
    assert_eq!(def.place().module, "tasks");
    assert!(def.place().file.ends_with("tasks.rs"));
    assert_eq!(params("add"), [("a", "u64"), ("b", "u64")]);
    assert_eq!(Registry::get().at(add::slot().unwrap()).unwrap().name(), "tasks::add");
}

#[test]
fn arguments_survive_bytes_and_json() {
    let mut payload = Payload::new();
    add::task(3, 4).encode(&mut payload).unwrap();
    let (bytes, bodies) = payload.into_parts();
    let mut rest = Encoded::new(&bytes, bodies);
    let back = add::decode(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(pool().submit(back).unwrap().join().unwrap(), 7);

    let from_json = add::from_json(r#"{"b": 1, "a": 2}"#).unwrap();
    assert_eq!(pool().submit(from_json).unwrap().join().unwrap(), 3);
    assert_eq!(add::from_json(r#"{"b": "x", "a": 2}"#).unwrap_err().param, Some("b"));
}

#[task]
fn same(same: u64) -> u64 {
    same
}

#[task]
fn _quiet(_quiet: u64) -> u64 {
    _quiet
}

#[task]
fn patterns((a, _b): (u64, u8), [c, d]: [u64; 2], _: Vec<u8>, mut e: u64) -> u64 {
    e += a + c + d;
    e
}

#[task]
#[allow(clippy::just_underscores_and_digits)]
fn clash(_2: u64, (a, b): (u64, u64)) -> u64 {
    _2 + a + b
}

#[task]
fn r#match(r#type: String, r#fn: Option<BTreeMap<String, Vec<u8>>>) -> usize {
    r#type.len() + r#fn.map_or(0, |map| map.len())
}

#[task]
fn nothing() {}

#[task(name = "shop.checkout", version = 7)]
fn named(_cx: &Context) -> u32 {
    1
}

#[test]
fn arguments_have_all_the_shapes_they_have_in_functions() {
    let pool = pool();
    assert_eq!(pool.submit(same::task(5)).unwrap().join().unwrap(), 5);
    assert_eq!(pool.submit(_quiet::task(5)).unwrap().join().unwrap(), 5);
    assert_eq!(pool.submit(patterns::task((1, 0), [2, 3], Vec::new(), 4)).unwrap().join().unwrap(), 10);
    assert_eq!(pool.submit(clash::task(1, (2, 3))).unwrap().join().unwrap(), 6);
    assert_eq!(pool.submit(r#match::task("abc".to_owned(), None)).unwrap().join().unwrap(), 3);
    pool.submit(nothing::task()).unwrap().join().unwrap();
    assert_eq!(pool.submit(named::task()).unwrap().join().unwrap(), 1);

    assert_eq!(params("patterns"), [("_1", "(u64, u8)"), ("_2", "[u64; 2]"), ("_3", "Vec<u8>"), ("e", "u64")]);
    assert_eq!(params("clash"), [("_2", "u64"), ("__2", "(u64, u64)")]);
    assert_eq!(params("match"), [("type", "String"), ("fn", "Option<BTreeMap<String, Vec<u8>>>")]);
    assert_eq!(def("match").name(), "tasks::match");
    assert_eq!(def("nothing").output(), "()");
    assert_eq!((def("shop.checkout").version(), params("shop.checkout").len()), (7, 0));
    assert_eq!(named::VERSION, 7);
}

#[task]
fn fails_anyhow(path: PathBuf) -> anyhow::Result<u64> {
    use anyhow::Context as _;
    let text = std::fs::read_to_string(path).context("reading the input")?;
    Ok(text.len() as u64)
}

#[task]
fn fails_string(n: u64) -> Result<u64, String> {
    Err(format!("no {n}"))
}

#[task]
fn fails_str(n: u64) -> Result<u64, &'static str> {
    if n == 0 { Err("none") } else { Ok(n) }
}

#[task]
fn fails_boxed(n: u64) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    Err(format!("no {n}").into())
}

#[task]
fn fails_std(text: String) -> std::result::Result<u64, std::num::ParseIntError> {
    text.parse()
}

#[task]
fn fails_io() -> std::io::Result<()> {
    Err(std::io::Error::other("disk on fire"))
}

type Answer = Result<u64, String>;

#[task(fallible)]
fn by_another_name(n: u64) -> Answer {
    Err(format!("no {n}"))
}

#[task(plain)]
fn as_value(n: u64) -> Result<u64, String> {
    Err(format!("no {n}"))
}

#[test]
fn errors_of_every_kind_end_the_task() {
    let pool = pool();
    let missing = failure(pool.submit(fails_anyhow::task("/no/such/file".into())).unwrap().join());
    assert!(missing.starts_with("reading the input < No such file"), "{missing}");
    assert_eq!(failure(pool.submit(fails_string::task(1)).unwrap().join()), "no 1");
    assert_eq!(failure(pool.submit(fails_str::task(0)).unwrap().join()), "none");
    assert_eq!(pool.submit(fails_str::task(2)).unwrap().join().unwrap(), 2);
    assert_eq!(failure(pool.submit(fails_boxed::task(1)).unwrap().join()), "no 1");
    assert_eq!(failure(pool.submit(fails_std::task("x".into())).unwrap().join()), "invalid digit found in string");
    assert_eq!(failure(pool.submit(fails_io::task()).unwrap().join()), "disk on fire");
    assert_eq!(failure(pool.submit(by_another_name::task(1)).unwrap().join()), "no 1");
    assert_eq!(pool.submit(as_value::task(1)).unwrap().join().unwrap(), Err("no 1".to_owned()));
    assert_eq!(def("fails_boxed").output(), "Result<u64, Box<dyn std::error::Error + Send + Sync>>");
}

#[task]
fn sorted<T>(mut items: Vec<T>) -> Vec<T>
where
    T: Ord,
{
    items.sort();
    items
}
register!(sorted<u64>, sorted<String>);

#[task]
fn padded<const N: usize>(items: Vec<u8>) -> Vec<u8> {
    let mut items = items;
    items.resize(N, 0);
    items
}

#[task]
fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: String) -> Result<T, T::Err> {
    text.parse()
}
register!(parsed<u8>);

#[task(local)]
fn received<T>(items: Receiver<T>) -> Vec<T> {
    items.iter().collect()
}

struct Opaque;

#[test]
fn generic_tasks_run_for_every_instance_and_are_registered_for_some() {
    let pool = pool();
    assert_eq!(pool.submit(sorted::task(vec![3_u64, 1, 2])).unwrap().join().unwrap(), [1, 2, 3]);
    assert_eq!(pool.submit(sorted::task(vec!['b', 'a'])).unwrap().join().unwrap(), ['a', 'b']);
    assert_eq!(pool.submit(padded::<3>::task(vec![1])).unwrap().join().unwrap(), [1, 0, 0]);
    assert_eq!(pool.submit(parsed::<u8>::task("7".into())).unwrap().join().unwrap(), 7);
    assert_eq!(
        failure(pool.submit(parsed::<u8>::task("700".into())).unwrap().join()),
        "number too large to fit in target type"
    );
    let (sender, receiver) = channel();
    sender.send(Opaque).unwrap();
    drop(sender);
    assert_eq!(pool.submit(received::task(receiver)).unwrap().join().unwrap().len(), 1);

    assert!(sorted::<u64>::slot().is_some() && sorted::<String>::slot().is_some() && parsed::<u8>::slot().is_some());
    assert_ne!(sorted::<u64>::slot(), sorted::<String>::slot());
    assert_eq!(sorted::<char>::slot(), None);
}

#[task(local)]
fn label(text: &'static str, items: std::sync::Arc<str>) -> &'static str {
    if items.is_empty() { "empty" } else { text }
}

#[task(state)]
fn model(path: PathBuf) -> std::io::Result<std::cell::RefCell<PathBuf>> {
    Ok(path.into())
}

#[task]
fn modelled(cx: &Context) -> PathBuf {
    cx.state::<std::cell::RefCell<PathBuf>>().unwrap().borrow().clone()
}

#[test]
fn local_and_state_tasks_have_values_that_cannot_travel() {
    assert_eq!(pool().submit(label::task("full", "x".into())).unwrap().join().unwrap(), "full");
    assert!(Registry::get().find("label").is_err());

    let pool = inline::pool().init(model::task("/model".into())).build().unwrap();
    assert_eq!(pool.submit(modelled::task()).unwrap().join().unwrap(), PathBuf::from("/model"));
    assert_eq!(params("model"), [("path", "PathBuf")]);
}

/// The types arrive in invisible groups, through which one has to look.
macro_rules! shapes {
    ($name:ident, $arg:ty, $cx:ty, $ret:ty, $called:literal, $body:expr) => {
        #[task(name = $called)]
        fn $name(cx: $cx, arg: $arg) -> $ret {
            let call: fn(&Context, $arg) -> $ret = $body;
            call(cx, arg)
        }
    };
}
shapes!(grouped, String, &Context, Result<u64, std::num::ParseIntError>, "grouped-name", |_, text| text.parse());
shapes!(grouped_too, (u8, u8), &Context, u32, "other-name", |cx, (a, b)| u32::from(a + b) + cx.attempt());

#[test]
fn tasks_can_be_written_by_macros() {
    let pool = pool();
    assert_eq!(pool.submit(grouped::task("1".into())).unwrap().join().unwrap(), 1);
    assert_eq!(failure(pool.submit(grouped::task("x".into())).unwrap().join()), "invalid digit found in string");
    assert_eq!(pool.submit(grouped_too::task((1, 2))).unwrap().join().unwrap(), 4);
    assert_eq!(def("grouped-name").output(), "Result<u64, std::num::ParseIntError>");
    assert_eq!(params("other-name"), [("arg", "(u8, u8)")]);
}

mod inner {
    use super::task;

    #[task]
    pub(super) fn visible(n: u64) -> u64 {
        n
    }

    pub(super) fn first() -> u64 {
        #[task]
        fn twin(n: u64) -> u64 {
            n + 1
        }
        super::pool().submit(twin::task(1)).unwrap().join().unwrap()
    }

    pub(super) fn second() -> u64 {
        #[task]
        fn twin(n: u64) -> u64 {
            n + 2
        }
        super::pool().submit(twin::task(1)).unwrap().join().unwrap()
    }
}

#[test]
fn tasks_stand_in_modules_and_in_functions() {
    use inner::visible;
    assert_eq!(pool().submit(visible::task(visible(1))).unwrap().join().unwrap(), 1);
    assert_eq!((inner::first(), inner::second()), (2, 3));
    assert!(Registry::get().find("twin").unwrap_err().to_string().contains("ambiguous"));
}

/// Whatever a program calls its own things, tasks mean the real ones.
#[allow(dead_code, non_snake_case)]
mod hostile {
    pub(crate) struct Result;
    pub(crate) struct Option;
    pub(crate) struct Vec;
    pub(crate) struct Self_;
    pub(crate) enum Some {}
    pub(crate) fn Ok() {}
    pub(crate) fn Err() {}
    pub(crate) mod core {}
    pub(crate) mod std {}
    pub(crate) mod taskloom_core {}

    #[::taskloom_core::task]
    pub(super) fn u32(str: u64) -> u64 {
        str
    }
    #[::taskloom_core::task]
    pub(super) fn str(u8: u64) -> ::core::result::Result<u64, ::std::string::String> {
        ::core::result::Result::Ok(u8)
    }
}

#[test]
fn names_of_the_program_do_not_get_in_the_way() {
    assert_eq!(pool().submit(hostile::u32::task(1)).unwrap().join().unwrap(), 1);
    assert_eq!(pool().submit(hostile::str::task(1)).unwrap().join().unwrap(), 1);
}

#[test]
fn bytes_are_the_arguments_one_after_the_other() {
    let (mut bytes, mut expected) = (Payload::new(), Payload::new());
    r#match::task("a".into(), None).encode(&mut bytes).unwrap();
    Data::encode::<Postcard>(&"a".to_owned(), &mut expected).unwrap();
    Postcard::encode(&None::<BTreeMap<String, Vec<u8>>>, &mut expected).unwrap();
    assert_eq!(bytes.into_parts(), expected.into_parts());
}
