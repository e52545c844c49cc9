//! Which tasks this program has, by place and by name.
//!
//! `#[task]` leaves a [`TaskDef`] for the linker to collect; [`Registry::get`] sorts them on first
//! use, so that every process of one program gives each task the same *slot*. Frames carry slots;
//! names are looked up only where a name is all one has: on the command line and in files.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::{
    codec::{Codec, CodecFault, Data, Encoded, Payload, at_end},
    context::Context,
    error::{CodecError, CodecStage, TaskError, UnknownTask},
    failure::Failure,
    task::PortableTask,
};

/// One argument of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Param {
    /// The argument's name; `_1` and so on where it is a pattern.
    pub name: &'static str,
    /// Its type as written in the source.
    pub ty: &'static str,
}

/// Where a task stands in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Package and version: `CARGO_PKG_NAME` and `CARGO_PKG_VERSION`.
    pub package: (&'static str, &'static str),
    /// `module_path!()`.
    pub module: &'static str,
    /// Source file.
    pub file: &'static str,
    /// Line in it.
    pub line: u32,
    /// Column in it.
    pub column: u32,
}

/// A registered task: its names, and how to run it from bytes.
pub struct TaskDef {
    identity: fn() -> (TypeId, &'static str),
    name: &'static str,
    version: u32,
    place: Place,
    params: &'static [Param],
    output: &'static str,
    doc: &'static str,
    makes_state: bool,
    run: RunBytes,
    keep: KeepState,
    from_json: fn(&str) -> Result<Payload, JsonFault>,
    to_json: fn(Encoded<'_>) -> Result<serde_json::Value, CodecFault>,
}

type RunBytes = fn(Encoded<'_>, &Context, &mut Payload) -> Result<(), TaskError>;
type KeepState = fn(Encoded<'_>, &Context) -> Result<Box<dyn Any>, TaskError>;

inventory::collect!(TaskDef);

/// What `#[task]` knows of a task and its type does not say.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Where it stands.
    pub place: Place,
    /// Its return type as written.
    pub output: &'static str,
    /// First paragraph of its documentation.
    pub doc: &'static str,
}

impl TaskDef {
    /// The definition of a `#[task]` function.
    pub const fn of<T: PortableTask>(about: About) -> Self {
        Self {
            identity: identity::<T>,
            name: T::NAME,
            version: T::VERSION,
            place: about.place,
            params: T::PARAMS,
            output: about.output,
            doc: about.doc,
            makes_state: false,
            run: run_bytes::<T>,
            keep: keep_state::<T>,
            from_json: json_to_args::<T>,
            to_json: output_to_json::<T>,
        }
    }

    /// The definition of a `#[task(state)]` function: its value is kept by the worker and never written.
    pub const fn of_state<T: StateTask>(about: About) -> Self {
        Self {
            identity: identity::<T>,
            name: T::NAME,
            version: 0,
            place: about.place,
            params: T::PARAMS,
            output: about.output,
            doc: about.doc,
            makes_state: true,
            run: |_, _, _| {
                Err(crate::error::Unsupported::new("running a `#[task(state)]` function as a task", "any").into())
            },
            keep: |args, cx| Ok(Box::new(decode_state::<T>(args)?.run(cx).map_err(TaskError::from)?)),
            from_json: |_| Err(JsonFault::new("makes a worker's state and cannot be run by name")),
            to_json: |_| Err(CodecFault::new("a worker's state is never written")),
        }
    }

    /// Display name: `package::module::function`, or what `#[task(name = "…")]` says. A generic task's names its types too.
    pub fn name(&self) -> &'static str {
        let (id, type_name) = (self.identity)();
        type_name.find('<').map_or(self.name, |types| instance_name(id, self.name, &type_name[types..]))
    }
    /// The last part of the name: what people type.
    pub fn short_name(&self) -> &'static str {
        let start = self.name.rfind("::").map_or(0, |at| at + 2);
        &self.name()[start..]
    }
    /// Version said by `#[task(version = N)]`.
    pub fn version(&self) -> u32 {
        self.version
    }
    /// Where it stands in the source.
    pub fn place(&self) -> Place {
        self.place
    }
    /// Its arguments.
    pub fn params(&self) -> &'static [Param] {
        self.params
    }
    /// Its return type, as written.
    pub fn output(&self) -> &'static str {
        self.output
    }
    /// First paragraph of its documentation; empty if it has none.
    pub fn doc(&self) -> &'static str {
        self.doc
    }
    /// Whether it is a `#[task(state)]` function: it makes a worker's state, and cannot be run as a task.
    pub fn makes_state(&self) -> bool {
        self.makes_state
    }
    /// Arguments as JSON text, encoded.
    ///
    /// # Errors
    /// Names the argument, the column and what was expected.
    pub fn args_from_json(&self, text: &str) -> Result<Payload, JsonFault> {
        (self.from_json)(text)
    }
    /// An encoded result becomes JSON.
    ///
    /// # Errors
    /// If it is no such result, or JSON has no such value.
    pub fn output_to_json(&self, output: Encoded<'_>) -> Result<serde_json::Value, CodecFault> {
        (self.to_json)(output)
    }
    pub(crate) fn run(&self, args: Encoded<'_>, cx: &Context, out: &mut Payload) -> Result<(), TaskError> {
        (self.run)(args, cx, out)
    }
    pub(crate) fn keep(&self, args: Encoded<'_>, cx: &Context) -> Result<Box<dyn Any>, TaskError> {
        (self.keep)(args, cx)
    }
}

impl fmt::Debug for TaskDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskDef")
            .field("name", &self.name())
            .field("version", &self.version)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What makes a worker's state; written by `#[task(state)]`. It is no [`Task`](crate::Task): its value never leaves the
/// worker that made it.
pub trait StateTask: Sized + Send + 'static {
    /// The state: any type.
    type State: 'static;
    /// Makes it.
    ///
    /// # Errors
    /// What the function reports.
    fn run(self, cx: &Context) -> Result<Self::State, Failure>;
    /// Display name.
    const NAME: &'static str;
    /// The arguments.
    const PARAMS: &'static [Param];
    /// Appends the arguments.
    ///
    /// # Errors
    /// If an argument cannot be carried.
    fn encode(&self, out: &mut Payload) -> Result<(), CodecFault>;
    /// Reads the arguments back.
    ///
    /// # Errors
    /// If these are other arguments.
    fn decode(from: &mut Encoded<'_>) -> Result<Self, CodecFault>;
    /// Where the registry holds it.
    fn slot() -> Option<u32>;
}

/// The name of a generic task's instance, with its types. No constant can hold it, so each is made once and kept.
fn instance_name(id: TypeId, name: &'static str, types: &'static str) -> &'static str {
    static NAMES: Mutex<BTreeMap<TypeId, &'static str>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.entry(id).or_insert_with(|| format!("{name}{types}").leak())
}

fn identity<T: 'static>() -> (TypeId, &'static str) {
    (TypeId::of::<T>(), std::any::type_name::<T>())
}

fn decode_args<T: PortableTask>(mut args: Encoded<'_>) -> Result<T, TaskError> {
    let task = T::decode(&mut args).and_then(|task| at_end(&args, task));
    Ok(task.map_err(|fault| CodecError::new(CodecStage::DecodeArgument, T::NAME, fault))?)
}

fn decode_state<T: StateTask>(mut args: Encoded<'_>) -> Result<T, TaskError> {
    let task = T::decode(&mut args).and_then(|task| at_end(&args, task));
    Ok(task.map_err(|fault| CodecError::new(CodecStage::DecodeArgument, T::NAME, fault))?)
}

fn run_bytes<T: PortableTask>(args: Encoded<'_>, cx: &Context, out: &mut Payload) -> Result<(), TaskError> {
    let output = decode_args::<T>(args)?.run(cx)?;
    let written = Data::encode::<T::Codec>(&output, out);
    written.map_err(|fault| CodecError::new(CodecStage::EncodeResult, T::NAME, fault))?;
    output.hand_over(out);
    Ok(())
}

fn keep_state<T: PortableTask>(args: Encoded<'_>, cx: &Context) -> Result<Box<dyn Any>, TaskError> {
    Ok(Box::new(decode_args::<T>(args)?.run(cx)?))
}

fn json_to_args<T: PortableTask>(text: &str) -> Result<Payload, JsonFault> {
    let mut out = Payload::with_bodies();
    let task = T::from_json(text)?;
    task.encode(&mut out).map_err(|fault| JsonFault::new(fault.to_string()))?;
    task.hand_over(&mut out);
    Ok(out)
}

fn output_to_json<T: PortableTask>(mut from: Encoded<'_>) -> Result<serde_json::Value, CodecFault> {
    let output = <T::Output as Data>::decode::<T::Codec>(&mut from).and_then(|v| at_end(&from, v))?;
    Data::to_json(&output).map_err(CodecFault::new)
}

/// All tasks of this program, sorted.
#[derive(Debug)]
pub struct Registry {
    defs: Vec<&'static TaskDef>,
    slots: HashMap<TypeId, u32>,
    digest: u64,
}

impl Registry {
    /// The program's registry: every linked `#[task]`, and what was passed to `init_with`.
    pub fn get() -> &'static Self {
        REGISTRY.get_or_init(|| Self::new(Vec::new()))
    }

    /// Registers tasks that link-time collection does not find, for platforms and builds where it
    /// finds none. Call it before anything else, in every process of the program alike.
    ///
    /// # Errors
    /// If the registry has been used already.
    pub fn init_with(extra: impl IntoIterator<Item = &'static TaskDef>) -> Result<&'static Self, TaskError> {
        let mut fresh = false;
        let registry = REGISTRY.get_or_init(|| {
            fresh = true;
            Self::new(extra.into_iter().collect())
        });
        if fresh {
            Ok(registry)
        } else {
            Err(crate::error::StartError::new(
                "tasks were registered after the registry had been used: call `init_with` first in `main`",
            )
            .into())
        }
    }

    fn new(mut defs: Vec<&'static TaskDef>) -> Self {
        defs.extend(inventory::iter::<TaskDef>);
        // Sorted by what does not depend on link order. The type's name tells instances of one generic task apart.
        defs.sort_by_key(|def| (def.name, def.place, (def.identity)().1));
        let mut slots = HashMap::new();
        defs.retain(|def| {
            let next = slots.len() as u32;
            slots.insert((def.identity)().0, next).is_none_or(|before| {
                slots.insert((def.identity)().0, before);
                false
            })
        });
        let mut hasher = DefaultHasher::new();
        for def in &defs {
            (def.name, def.version, def.place, def.params, (def.identity)().1).hash(&mut hasher);
        }
        Self { slots, digest: hasher.finish(), defs }
    }

    /// The tasks in order of their names.
    pub fn tasks(&self) -> &[&'static TaskDef] {
        &self.defs
    }

    /// A number that two processes share exactly if they have the same tasks.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The task in a slot.
    ///
    /// # Errors
    /// If there is no such slot.
    pub fn at(&self, slot: u32) -> Result<&'static TaskDef, TaskError> {
        self.defs.get(slot as usize).copied().ok_or_else(|| UnknownTask::slot(slot, self.defs.len()).into())
    }

    /// The slot of a task type, if it is registered.
    pub fn slot_of<T: 'static>(&self) -> Option<u32> {
        self.slots.get(&TypeId::of::<T>()).copied()
    }

    /// Finds a task by its full name, or by the end of it (`count_words`, `text::count_words`).
    ///
    /// # Errors
    /// [`TaskError::UnknownTask`] with the nearest names if none fits, with all that fit if several do.
    pub fn find(&self, name: &str) -> Result<(u32, &'static TaskDef), TaskError> {
        // A generic task's bare name stands for all its instances.
        let ends_so = |full: &str| full == name || full.strip_suffix(name).is_some_and(|path| path.ends_with("::"));
        let all = || self.defs.iter().enumerate();
        let full: Vec<_> = all().filter(|(_, def)| def.name() == name).collect();
        let found = if full.is_empty() {
            all().filter(|(_, def)| ends_so(def.name()) || ends_so(def.name)).collect()
        } else {
            full
        };
        match found[..] {
            [(slot, def)] => Ok((slot as u32, def)),
            [] => Err(UnknownTask::none(name, self.nearest(name), self.defs.len()).into()),
            _ => Err(UnknownTask::several(
                name,
                found
                    .iter()
                    .map(|(_, def)| format!("{} ({}:{})", def.name(), def.place.file, def.place.line))
                    .collect(),
            )
            .into()),
        }
    }

    /// Up to three names that a slip of the finger may have meant.
    fn nearest(&self, name: &str) -> Vec<String> {
        let typed = name.rsplit("::").next().unwrap_or(name);
        let mut near: Vec<_> =
            self.defs.iter().map(|def| (edit_distance(typed, def.short_name()), def.short_name())).collect();
        near.sort();
        near.retain(|&(distance, candidate)| distance <= 1 + candidate.len() / 3);
        near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
    }
}

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Levenshtein's distance, one row at a time (Wagner and Fischer 1974).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            let best = substitute.min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

/// Why a JSON text is not the arguments of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonFault {
    /// The argument at fault, if one is.
    pub param: Option<&'static str>,
    /// Where in the text, in bytes from 0.
    pub offset: Option<usize>,
    /// What is wrong, without the argument's name.
    pub message: String,
}

impl JsonFault {
    /// A fault of the whole text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { param: None, offset: None, message: message.into() }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.param {
            Some(param) => write!(f, "`{param}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for JsonFault {}

/// Writes arguments with a task's codec, one after the other; used by `#[task]`.
///
/// # Errors
/// Names the argument that cannot be carried.
pub fn encode_param<C: Codec, T: Data>(name: &'static str, value: &T, out: &mut Payload) -> Result<(), CodecFault> {
    value.encode::<C>(out).map_err(|fault| CodecFault::new(format_args!("argument `{name}`: {fault}")))
}

/// Reads one argument with a task's codec; used by `#[task]`.
///
/// # Errors
/// Names the argument that cannot be read.
pub fn decode_param<C: Codec, T: Data>(name: &'static str, from: &mut Encoded<'_>) -> Result<T, CodecFault> {
    T::decode::<C>(from).map_err(|fault| CodecFault::new(format_args!("argument `{name}`: {fault}")))
}
