//! A worker as tasks see it: its number, its slot, and the state its initialiser made.
//!
//! Made by a backend on the worker's own thread, and never leaves it.

use std::{any::Any, cell::OnceCell, fmt, rc::Rc, sync::Arc, time::Duration};

use crate::{
    codec::{CodecFault, Encoded, Payload},
    context::{Context, Link},
    error::TaskError,
    failure::IntoFailure,
    panic,
    registry::{Registry, StateTask},
    task::{Portable, PortableTask},
};

/// A worker of a pool.
#[derive(Clone)]
pub struct Worker(Rc<Inner>);

struct Inner {
    pool: u64,
    id: u32,
    slot: u32,
    state: OnceCell<Box<dyn Any>>,
    cpu_clock: fn() -> Option<Duration>,
    on_block: Option<Box<dyn OnBlock>>,
}

/// Told when a task on this worker is about to wait for other tasks, and when it goes on.
pub trait OnBlock {
    /// The worker stops working until [`resume`](Self::resume). Another may take its place.
    ///
    /// # Errors
    /// If no other can: the wait would never end, and fails with this instead.
    fn block(&self) -> Result<(), TaskError>;
    /// The worker goes on.
    fn resume(&self);
}

impl Worker {
    /// Worker number `id` of the pool `pool`, in the place `slot` among those that run at the same time.
    pub fn new(pool: u64, id: u32, slot: u32) -> Self {
        Self(Rc::new(Inner { pool, id, slot, state: OnceCell::new(), cpu_clock: || None, on_block: None }))
    }

    /// Measures tasks' CPU time with this thread's clock.
    #[must_use]
    pub fn cpu_clock(mut self, clock: fn() -> Option<Duration>) -> Self {
        self.inner().cpu_clock = clock;
        self
    }

    /// Tells `hook` when a task here waits for others.
    #[must_use]
    pub fn on_block(mut self, hook: impl OnBlock + 'static) -> Self {
        self.inner().on_block = Some(Box::new(hook));
        self
    }

    fn inner(&mut self) -> &mut Inner {
        Rc::get_mut(&mut self.0).expect("a worker is set up before it is shared")
    }

    /// Runs the pool's initialiser, if there is one; its value is `cx.state()` from now on.
    ///
    /// # Errors
    /// If the initialiser fails or panics.
    pub fn init(&self, init: Option<&Init>) -> Result<(), TaskError> {
        let Some(init) = init else { return Ok(()) };
        let cx = Context::for_init(self);
        let state = crate::ambient::in_task(self, 0, || panic::catch(|| init.make(&cx)))??;
        // A worker is initialised once.
        let _ = self.0.state.set(state);
        Ok(())
    }

    /// The worker's number, unique in its pool.
    pub fn id(&self) -> u32 {
        self.0.id
    }
    /// Its place: small, unique among running workers, inherited by a replacement.
    pub fn slot(&self) -> u32 {
        self.0.slot
    }
    pub(crate) fn pool(&self) -> u64 {
        self.0.pool
    }
    pub(crate) fn state<T: 'static>(&self) -> Option<&T> {
        self.0.state.get()?.downcast_ref()
    }
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        (self.0.cpu_clock)()
    }
    pub(crate) fn is_lent(&self) -> bool {
        self.0.on_block.is_some()
    }
    pub(crate) fn block(&self) -> Result<(), TaskError> {
        self.0.on_block.as_ref().map_or(Ok(()), |hook| hook.block())
    }
    pub(crate) fn resume(&self) {
        self.0.on_block.iter().for_each(|hook| hook.resume());
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.0.id).field("slot", &self.0.slot).finish_non_exhaustive()
    }
}

/// What each worker of a pool runs before its first task.
#[derive(Clone)]
pub struct Init(How);

#[derive(Clone)]
enum How {
    Bytes { slot: u32, args: Arc<[u8]> },
    Closure(Arc<MakeState>),
}

type MakeState = dyn Fn(&Context) -> Result<Box<dyn Any>, TaskError> + Send + Sync;

impl Init {
    /// From an initialiser's place in the registry and its arguments, as [`Init::to_bytes`] gave them.
    pub fn from_bytes(slot: u32, args: &[u8]) -> Self {
        Self(How::Bytes { slot, args: args.into() })
    }

    /// The initialiser's place in the registry and its arguments; `None` for a closure.
    pub fn to_bytes(&self) -> Option<(u32, &[u8])> {
        match &self.0 {
            How::Bytes { slot, args } => Some((*slot, args)),
            How::Closure(_) => None,
        }
    }

    /// An initialiser for workers in this process.
    pub fn from_fn<T: 'static, E: IntoFailure>(f: impl Fn(&Context) -> Result<T, E> + Send + Sync + 'static) -> Self {
        Self(How::Closure(Arc::new(move |cx| match f(cx) {
            Ok(state) => Ok(Box::new(state) as Box<dyn Any>),
            Err(error) => Err(error.into_failure().into()),
        })))
    }

    fn make(&self, cx: &Context) -> Result<Box<dyn Any>, TaskError> {
        match &self.0 {
            How::Bytes { slot, args } => Registry::get().at(*slot)?.keep(Encoded::from(&args[..]), cx),
            How::Closure(make) => make(cx),
        }
    }
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Init")
    }
}

/// What can be a pool's initialiser: a `#[task(state)]` function, or a `#[task]` function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot initialise workers",
    label = "neither a `#[task(state)]` nor a `#[task]` function",
    note = "each worker runs the initialiser once; write `init(function::task(arguments))`"
)]
pub trait IntoInit<M> {
    /// Writes the arguments down, for every worker to read.
    ///
    /// # Errors
    /// If they cannot be written, or the task is not registered.
    fn into_init(self) -> Result<Init, TaskError>;
}

/// Marks initialisers that are `#[task(state)]` functions.
#[derive(Debug)]
pub enum State {}

impl<T: StateTask> IntoInit<State> for T {
    fn into_init(self) -> Result<Init, TaskError> {
        written(T::NAME, T::slot(), |out| self.encode(out))
    }
}

impl<T: PortableTask> IntoInit<Portable> for T {
    fn into_init(self) -> Result<Init, TaskError> {
        written(T::NAME, T::slot(), |out| self.encode(out))
    }
}

fn written(
    name: &'static str,
    slot: Option<u32>,
    encode: impl FnOnce(&mut Payload) -> Result<(), CodecFault>,
) -> Result<Init, TaskError> {
    let slot = slot.ok_or_else(|| crate::error::UnknownTask::unregistered(name))?;
    let mut args = Payload::new();
    encode(&mut args)
        .map_err(|fault| crate::error::CodecError::new(crate::error::CodecStage::EncodeArgument, name, fault))?;
    Ok(Init::from_bytes(slot, &args.into_parts().0))
}

/// The link of contexts that belong to no task.
pub(crate) struct NoLink;

impl Link for NoLink {
    fn is_cancelled(&self, _: u32) -> bool {
        false
    }
    fn progress(&self, _: u64, _: u64, _: u64) {}
}
