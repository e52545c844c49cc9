//! What a task is, where it may go, and how closures become tasks.
//!
//! A task is a value that runs once: [`Task::run`] eats it. How far it can travel is its
//! [*reach*](Reach): a `#[task]` function is [`Portable`] (any backend), a closure or a
//! `#[task(local)]` function is [`Local`] (backends of this process), a task found by name at run
//! time is [`ByName`]. The reach decides at compile time which pools accept it ([`RunsOn`]).

use std::marker::PhantomData;

use crate::{
    backend::{Backend, InProcess},
    codec::{Codec, CodecFault, Data, Encoded, Payload, at_end},
    context::Context,
    error::{CodecError, CodecStage, TaskError, UnknownTask, Unsupported},
    failure::Failure,
    named::NamedTask,
    registry,
};

/// Work that runs once and gives a value.
///
/// `#[task]` writes this for a function; closures have it through [`IntoTask`]; write it by hand
/// for a type that is already your unit of work.
pub trait Task: Sized + Send + 'static {
    /// What the task gives when it succeeds.
    type Output: Send + 'static;
    /// How far the task can travel: [`Portable`], [`Local`] or [`ByName`].
    type Reach: Reach<Self>;
    /// Does the work.
    ///
    /// # Errors
    /// What the task's own code reports. It reaches the caller as [`TaskError::Failed`].
    fn run(self, cx: &Context) -> Result<Self::Output, Failure>;
}

/// A task that can be written to bytes and run by name in another process.
///
/// Implemented by `#[task]`; the methods are what backends and the command line need.
pub trait PortableTask: Task<Output: Data> {
    /// How arguments and result are written. [`Postcard`](crate::codec::Postcard) by default.
    type Codec: Codec;
    /// Display name, `package::module::function` unless set by `#[task(name = "…")]`.
    const NAME: &'static str;
    /// Version set by `#[task(version = N)]`, 0 by default. Recorded results of another version are not reused.
    const VERSION: u32;
    /// The arguments, in order.
    const PARAMS: &'static [registry::Param];
    /// Appends the arguments to `out`, as [`Data::encode`] does.
    ///
    /// # Errors
    /// If an argument cannot be carried by the codec.
    fn encode(&self, out: &mut Payload) -> Result<(), CodecFault>;
    /// Moves into `out` what [`encode`](Self::encode) has left in the arguments.
    fn hand_over(self, out: &mut Payload);
    /// Takes the arguments from the front of `from`.
    ///
    /// # Errors
    /// If these are other arguments.
    fn decode(from: &mut Encoded<'_>) -> Result<Self, CodecFault>;
    /// Reads the arguments from JSON: one argument is the value itself, several are an object by name.
    ///
    /// # Errors
    /// Names the argument, the column and what was expected.
    fn from_json(text: &str) -> Result<Self, registry::JsonFault>;
    /// Where the registry holds this task; `None` if it is not registered (a generic one without `register!`).
    fn slot() -> Option<u32>;
}

/// How far tasks of type `T` can travel, and how they are written where they can. Sealed.
pub trait Reach<T: Task>: sealed::Sealed {
    /// What to call the task in messages.
    #[doc(hidden)]
    fn name(task: &T) -> &'static str;
    /// Appends the arguments and gives the registry slot; fails with the reason why the task must stay here.
    #[doc(hidden)]
    fn encode(task: &T, backend: &'static str, out: &mut Payload) -> Result<u32, TaskError>;
    /// Moves what `encode` has left in the arguments.
    #[doc(hidden)]
    fn hand_over(task: T, out: &mut Payload);
    /// Reads arguments back: for retries and checked mode.
    #[doc(hidden)]
    fn decode(slot: u32, from: Encoded<'_>) -> Result<T, TaskError>;
    /// Reads a result that a worker wrote.
    #[doc(hidden)]
    fn decode_output(slot: u32, from: Encoded<'_>) -> Result<T::Output, TaskError>;
    /// Writes and reads a result, as checked mode does.
    #[doc(hidden)]
    fn round_trip_output(slot: u32, output: T::Output) -> Result<T::Output, TaskError>;
}

/// Reach of `#[task]` functions: any backend.
#[derive(Debug)]
pub enum Portable {}
/// Reach of closures and `#[task(local)]` functions: backends that run in this process.
#[derive(Debug)]
pub enum Local {}
/// Reach of tasks looked up by name at run time, as the command line does: any backend.
#[derive(Debug)]
pub enum ByName {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Portable {}
    impl Sealed for super::Local {}
    impl Sealed for super::ByName {}
}

impl<T: PortableTask> Reach<T> for Portable {
    fn name(_: &T) -> &'static str {
        T::NAME
    }
    fn encode(task: &T, _: &'static str, out: &mut Payload) -> Result<u32, TaskError> {
        let slot = T::slot().ok_or_else(|| unregistered(T::NAME))?;
        task.encode(out).map_err(|fault| CodecError::new(CodecStage::EncodeArgument, T::NAME, fault))?;
        Ok(slot)
    }
    fn hand_over(task: T, out: &mut Payload) {
        task.hand_over(out);
    }
    fn decode(_: u32, mut from: Encoded<'_>) -> Result<T, TaskError> {
        let task = T::decode(&mut from).and_then(|task| at_end(&from, task));
        Ok(task.map_err(|fault| CodecError::new(CodecStage::DecodeArgument, T::NAME, fault))?)
    }
    fn decode_output(_: u32, mut from: Encoded<'_>) -> Result<T::Output, TaskError> {
        let output = <T::Output as Data>::decode::<T::Codec>(&mut from).and_then(|v| at_end(&from, v));
        Ok(output.map_err(|fault| CodecError::new(CodecStage::DecodeResult, T::NAME, fault))?)
    }
    fn round_trip_output(slot: u32, output: T::Output) -> Result<T::Output, TaskError> {
        let mut out = Payload::with_copies();
        Data::encode::<T::Codec>(&output, &mut out)
            .map_err(|fault| CodecError::new(CodecStage::EncodeResult, T::NAME, fault))?;
        drop(output);
        let (bytes, bodies) = out.into_parts();
        <Self as Reach<T>>::decode_output(slot, Encoded::new(&bytes, bodies))
    }
}

fn unregistered(name: &str) -> TaskError {
    UnknownTask::unregistered(name).into()
}

impl<T: Task> Reach<T> for Local {
    fn name(_: &T) -> &'static str {
        std::any::type_name::<T>()
    }
    fn encode(_: &T, backend: &'static str, _: &mut Payload) -> Result<u32, TaskError> {
        Err(stays_here(backend))
    }
    fn hand_over(_: T, _: &mut Payload) {}
    fn decode(_: u32, _: Encoded<'_>) -> Result<T, TaskError> {
        Err(stays_here("codec"))
    }
    fn decode_output(_: u32, _: Encoded<'_>) -> Result<T::Output, TaskError> {
        Err(stays_here("codec"))
    }
    fn round_trip_output(_: u32, output: T::Output) -> Result<T::Output, TaskError> {
        Ok(output)
    }
}

fn stays_here(backend: &'static str) -> TaskError {
    let refusal = Unsupported::new("encoding a closure or a `#[task(local)]` function", backend);
    refusal.help("make it a `#[task]` function with serde arguments").into()
}

impl Reach<NamedTask> for ByName {
    fn name(task: &NamedTask) -> &'static str {
        task.def().name()
    }
    fn encode(task: &NamedTask, _: &'static str, out: &mut Payload) -> Result<u32, TaskError> {
        out.append(task.args().read());
        Ok(task.slot())
    }
    fn hand_over(_: NamedTask, _: &mut Payload) {}
    fn decode(slot: u32, from: Encoded<'_>) -> Result<NamedTask, TaskError> {
        NamedTask::from_args(slot, from.into_payload())
    }
    fn decode_output(slot: u32, from: Encoded<'_>) -> Result<serde_json::Value, TaskError> {
        NamedTask::output_to_json(slot, from)
    }
    fn round_trip_output(_: u32, output: serde_json::Value) -> Result<serde_json::Value, TaskError> {
        // A named task already went through bytes on its way to JSON.
        Ok(output)
    }
}

/// Says which reaches a backend accepts. `Portable` and `ByName` run everywhere, `Local` where the backend is [`InProcess`].
#[diagnostic::on_unimplemented(
    message = "this task cannot leave the process: a `{B}` pool runs tasks in other processes",
    label = "a closure or a `#[task(local)]` function",
    note = "make it a `#[task]` function with serde arguments, or use a pool of threads or the inline pool"
)]
pub trait RunsOn<B: ?Sized> {}
impl<B: Backend + ?Sized> RunsOn<B> for Portable {}
impl<B: Backend + ?Sized> RunsOn<B> for ByName {}
#[diagnostic::do_not_recommend]
impl<B: InProcess + ?Sized> RunsOn<B> for Local {}

/// Whatever can be submitted: a task, or a closure with or without a `&Context`.
///
/// `M` only keeps the implementations apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "not a task",
    note = "for a `#[task]` function write `function::task(arguments)`; a closure takes nothing or a `&Context`: `|| …`, `|cx: &Context| …`",
    note = "a `#[task(state)]` function makes a worker's state: it goes to the pool's builder, `.init(function::task(arguments))`"
)]
pub trait IntoTask<M> {
    /// The task it becomes.
    type Task: Task;
    /// Makes the task.
    fn into_task(self) -> Self::Task;
}

/// The task that `W` becomes.
pub type TaskOf<W, M> = <W as IntoTask<M>>::Task;
/// What the task that `W` becomes gives.
pub type OutputOf<W, M> = <TaskOf<W, M> as Task>::Output;
/// The reach of the task that `W` becomes.
pub type ReachOf<W, M> = <TaskOf<W, M> as Task>::Reach;

/// Marks values that are tasks already.
#[derive(Debug)]
pub enum AsIs {}
/// Marks closures without an argument.
#[derive(Debug)]
pub struct NoArg<R>(PhantomData<R>);
/// Marks closures that take the context.
#[derive(Debug)]
pub struct WithCx<R>(PhantomData<R>);

impl<T: Task> IntoTask<AsIs> for T {
    type Task = T;
    fn into_task(self) -> T {
        self
    }
}

impl<F, R> IntoTask<NoArg<R>> for F
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Task = Closure<F, NoArg<R>>;
    fn into_task(self) -> Self::Task {
        Closure { call: self, shape: PhantomData }
    }
}

impl<F, R> IntoTask<WithCx<R>> for F
where
    F: FnOnce(&Context) -> R + Send + 'static,
    R: Send + 'static,
{
    type Task = Closure<F, WithCx<R>>;
    fn into_task(self) -> Self::Task {
        Closure { call: self, shape: PhantomData }
    }
}

/// A closure as a task. Its value is returned as it is: a closure that returns a `Result` is joined with `join()??`.
pub struct Closure<F, M> {
    call: F,
    shape: PhantomData<fn() -> M>,
}

impl<F, M> std::fmt::Debug for Closure<F, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Closure")
    }
}

impl<F, R> Task for Closure<F, NoArg<R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Output = R;
    type Reach = Local;
    fn run(self, _: &Context) -> Result<R, Failure> {
        Ok((self.call)())
    }
}

impl<F, R> Task for Closure<F, WithCx<R>>
where
    F: FnOnce(&Context) -> R + Send + 'static,
    R: Send + 'static,
{
    type Output = R;
    type Reach = Local;
    fn run(self, cx: &Context) -> Result<R, Failure> {
        Ok((self.call)(cx))
    }
}

/// Helps the compiler with `|cx|`: a closure's argument type is inferred only behind an `Fn` bound.
///
/// ```
/// # use taskloom_core::{inline, task_fn};
/// let pool = inline::pool().build()?;
/// assert_eq!(pool.submit(task_fn(|cx| cx.attempt()))?.join()?, 1);
/// # Ok::<(), taskloom_core::TaskError>(())
/// ```
pub fn task_fn<F, R>(f: F) -> Closure<F, WithCx<R>>
where
    F: FnOnce(&Context) -> R + Send + 'static,
    R: Send + 'static,
{
    Closure { call: f, shape: PhantomData }
}
