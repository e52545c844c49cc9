//! Pools, and views of them through which everything is submitted.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    ambient,
    backend::{Backend, Capabilities, Shutdown},
    clock,
    codec::Payload,
    error::{Clock, Kind, TaskError, TrySubmitError, Unsupported},
    event::Event,
    gauge::Full,
    handle::Handle,
    hub::Hub,
    job::{Cargo, Job},
    map::{Inbox, MAX_CHUNK, Map, Order},
    node::{Chunk, Item, Node, Single},
    panic,
    park::Lent,
    policy::Policy,
    settings::no_workers,
    task::{IntoTask, OutputOf, Reach, ReachOf, RunsOn, Task, TaskOf},
    work::{Core, Head, Work},
};

/// A pool: it owns its workers. Its methods are those of [`View`].
///
/// Dropping it cancels what has not started, gives running tasks the pool's `drop_grace`, and then
/// kills or abandons them. [`join`](View::join) it to let everything finish.
pub struct Pool<B: Backend + ?Sized = dyn Backend> {
    view: View<B>,
    closer: Closer,
}

/// What submits to a pool, under a policy. Cheap to clone; keeps no worker alive: when the pool is
/// gone it says `Closed`.
pub struct View<B: ?Sized = dyn Backend> {
    core: Arc<Core>,
    backend: Arc<B>,
    policy: Option<Arc<Policy>>,
}

/// Ends the pool when it is dropped.
struct Closer(Arc<Core>);

impl<B: Backend> Pool<B> {
    /// A pool of this backend; `hub` is what the backend was made with. For writers of backends.
    pub fn new(hub: Hub, backend: B) -> Self {
        let backend = Arc::new(backend);
        let core = Arc::new(Core { capabilities: backend.capabilities(), backend: backend.clone(), hub });
        Self { view: View { core: core.clone(), backend, policy: None }, closer: Closer(core) }
    }

    /// The same pool, with its backend's type forgotten: for programs that choose at run time.
    pub fn into_any(self) -> Pool {
        Pool { view: self.view.any(), closer: self.closer }
    }
}

impl<B: Backend> From<Pool<B>> for Pool {
    fn from(pool: Pool<B>) -> Self {
        pool.into_any()
    }
}

impl<B: Backend + ?Sized> Deref for Pool<B> {
    type Target = View<B>;
    fn deref(&self) -> &View<B> {
        &self.view
    }
}

impl<B: Backend + ?Sized> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.closer;
        f.debug_struct("Pool")
            .field("backend", &self.view.core.capabilities.name)
            .field("workers", &self.view.capabilities().workers)
            .finish()
    }
}

impl<B: ?Sized> Clone for View<B> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), backend: self.backend.clone(), policy: self.policy.clone() }
    }
}

impl<B: ?Sized> fmt::Debug for View<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("backend", &self.core.capabilities.name).field("policy", &self.policy).finish()
    }
}

impl<B: Backend> View<B> {
    /// The same view, with the backend's type forgotten.
    pub fn any(&self) -> View {
        View { core: self.core.clone(), backend: self.backend.clone(), policy: self.policy.clone() }
    }
}

impl<B: Backend + ?Sized> View<B> {
    /// Submits a task; waits while the queue is full, except from inside a task or a callback.
    ///
    /// ```
    /// # use taskloom_core::inline;
    /// let pool = inline::pool().build()?;
    /// let handle = pool.submit(|| 6 * 7)?;
    /// assert_eq!(handle.join()?, 42);
    /// # Ok::<(), taskloom_core::TaskError>(())
    /// ```
    ///
    /// # Errors
    /// [`TaskError::Closed`] after the pool's end; [`TaskError::Codec`] if the arguments cannot be carried;
    /// [`TaskError::Unsupported`] for what the backend cannot do under this view's policy.
    pub fn submit<W, M>(&self, task: W) -> Result<Handle<OutputOf<W, M>>, TaskError>
    where
        W: IntoTask<M>,
        ReachOf<W, M>: RunsOn<B>,
    {
        let packer = self.packer();
        let packed = packer.pack(task.into_task()).map_err(|(_, error)| error)?;
        packer.core.hub.admit(1, packed.weight)?;
        Ok(packer.submit(packed))
    }

    /// Submits a task if there is room for it now.
    ///
    /// # Errors
    /// Gives the task back: the queue is full, the pool is closed, or it can never take this task.
    #[expect(clippy::type_complexity, reason = "an alias would hide that the task comes back")]
    pub fn try_submit<W, M>(&self, task: W) -> Result<Handle<OutputOf<W, M>>, TrySubmitError<TaskOf<W, M>>>
    where
        W: IntoTask<M>,
        ReachOf<W, M>: RunsOn<B>,
    {
        let packer = self.packer();
        let packed = packer.pack(task.into_task()).map_err(|(task, error)| TrySubmitError::Refused(task, error))?;
        match packer.core.hub.try_admit(1, packed.weight) {
            Ok(()) => Ok(packer.submit(packed)),
            Err(Full::Full) => Err(TrySubmitError::Full(packed.task)),
            Err(Full::Closed) => Err(TrySubmitError::Closed(packed.task)),
        }
    }

    /// One result per input, in input order. Lazy: nothing runs before the first `next`, and the
    /// input is pulled at most a window ahead of the results, on this thread; so it may be endless.
    /// Dropping the iterator cancels what has not started.
    ///
    /// ```
    /// # use taskloom_core::{inline, View, InProcess};
    /// let pool = inline::pool().build()?;
    /// let squares = pool.map((1..).map(|n: u64| move || n * n));
    /// let small: Vec<u64> = squares.take(3).collect::<Result<_, _>>()?;
    /// assert_eq!(small, [1, 4, 9]);
    /// # Ok::<(), taskloom_core::TaskError>(())
    /// ```
    pub fn map<I, M>(&self, tasks: I) -> Map<I::IntoIter, M, B>
    where
        I: IntoIterator<Item: IntoTask<M>>,
        ReachOf<I::Item, M>: RunsOn<B>,
    {
        Map::new(self, tasks.into_iter(), Order::Input)
    }

    /// Like [`map`](Self::map), with the results as they come.
    pub fn map_unordered<I, M>(&self, tasks: I) -> Map<I::IntoIter, M, B>
    where
        I: IntoIterator<Item: IntoTask<M>>,
        ReachOf<I::Item, M>: RunsOn<B>,
    {
        Map::new(self, tasks.into_iter(), Order::Finish)
    }

    /// The same pool with this policy for everything submitted through it, instead of the present one.
    #[must_use]
    pub fn with(&self, policy: Policy) -> Self {
        Self { core: self.core.clone(), backend: self.backend.clone(), policy: Some(Arc::new(policy)) }
    }

    /// The backend: what only it can do.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// What the backend can do.
    pub fn capabilities(&self) -> Capabilities {
        self.core.backend.capabilities()
    }

    /// Changes the number of workers. New ones start at once; those that are too many leave when they
    /// have done what they are at, and nothing that is queued is lost. Returns without waiting for either.
    ///
    /// # Errors
    /// [`TaskError::Unsupported`] where workers cannot come and go; [`TaskError::Start`] for zero workers,
    /// or more than there can be; [`TaskError::Closed`] after the pool's end.
    pub fn resize(&self, workers: usize) -> Result<(), TaskError> {
        if workers == 0 {
            return Err(no_workers().into());
        }
        if self.core.hub.is_closed() {
            return Err(TaskError::Closed);
        }
        self.core.backend.resize(workers)
    }

    /// Tasks that were accepted and have no outcome yet.
    pub fn open_tasks(&self) -> usize {
        self.core.hub.open()
    }

    /// Calls `reader` with everything that happens from now on, in order, on the pool's notifier thread.
    pub fn on_event(&self, reader: impl FnMut(&Event) + Send + 'static) {
        self.core.hub.read_events(Box::new(reader));
    }

    /// Takes no more work, finishes everything accepted, and ends the workers. Calling it again, or
    /// after a [`cancel_all`](Self::cancel_all), waits for the same end.
    ///
    /// From a task or a callback of the pool itself it takes no more work and returns: the rest
    /// happens when the pool is dropped.
    pub fn join(&self) {
        self.core.end(Shutdown::Finish);
    }

    /// Takes no more work, cancels what has not started, tells what runs to stop, and gives it
    /// `grace` before it is killed or abandoned. Every handle has its outcome when this returns.
    ///
    /// From a task or a callback of the pool itself it does not wait for running tasks.
    pub fn cancel_all(&self, grace: Duration) {
        self.core.end(Shutdown::Cancel { grace });
    }
}

impl<B: ?Sized> View<B> {
    pub(crate) fn packer(&self) -> Packer {
        Packer { core: self.core.clone(), policy: self.policy.clone() }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        let hub = &self.0.hub;
        if hub.is_foreign() {
            return;
        }
        let grace = hub.settings().drop_grace;
        let open = hub.open();
        if open > 0 {
            log::warn!(target: "taskloom", "a `{}` pool was dropped with {open} tasks not done: those that have not started are cancelled", self.0.capabilities.name);
        }
        self.0.end(Shutdown::Cancel { grace });
    }
}

impl Core {
    fn end(&self, how: Shutdown) {
        if self.hub.is_foreign() {
            return;
        }
        self.hub.close();
        let inside = ambient::belongs_to(self.hub.id());
        // Tasks here may wait for tasks of another pool, on whose worker this is.
        let _lent = (!inside).then(|| {
            Lent::new().inspect_err(
                |error| log::warn!(target: "taskloom", "a pool's end is awaited on a worker whose place nobody can take: {error}"),
            )
        });
        match how {
            Shutdown::Finish if inside => return,
            Shutdown::Finish => self.hub.wait_all_done(),
            Shutdown::Cancel { .. } => clock::forget(self.hub.id()),
        }
        self.backend.shutdown(how);
        clock::forget(self.hub.id());
        self.hub.end_notifier();
    }
}

/// Turns tasks into nodes and jobs, under one policy.
#[derive(Clone)]
pub(crate) struct Packer {
    pub(crate) core: Arc<Core>,
    pub(crate) policy: Option<Arc<Policy>>,
}

/// A task that is ready to be accepted.
struct Packed<T> {
    task: T,
    cargo: Option<Cargo>,
    slot: u32,
    /// Bytes that count against the queue's bound.
    weight: usize,
}

impl Packer {
    fn must_encode(&self) -> bool {
        self.core.capabilities.encodes || self.core.hub.settings().checked || self.may_retry()
    }

    fn may_retry(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.retry.is_some())
    }

    /// Refuses what the backend cannot do under this policy.
    fn verify(&self) -> Result<(), TaskError> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let Capabilities { name, kills, runs_at_submission, .. } = self.core.capabilities;
        let overlaps =
            policy.timeout.is_some() && policy.retry.as_ref().is_some_and(|retry| retry.names(Kind::TimedOut));
        if overlaps && !kills && !runs_at_submission && !policy.allow_overlap {
            let refusal = Unsupported::new("retrying a time-out while the first attempt may still run", name);
            return Err(refusal.help("use a `procs` pool, or say `allow_overlap`").into());
        }
        Ok(())
    }

    /// A payload for arguments; where they are wanted here too they stay whole.
    fn payload(&self) -> Payload {
        if self.core.capabilities.encodes { Payload::with_bodies() } else { Payload::with_copies() }
    }

    fn encode<T: Task>(&self, task: &T, out: &mut Payload) -> Result<u32, TaskError> {
        let backend = self.core.capabilities.name;
        // Writing arguments runs their types' code.
        let written = panic::catch(|| <T::Reach as Reach<T>>::encode(task, backend, out))
            .unwrap_or_else(|panic| Err(panic.into()));
        written.map_err(|error| match error {
            TaskError::Unsupported(_) if !self.core.capabilities.encodes => {
                let operation = if self.may_retry() {
                    "retrying a closure or a `#[task(local)]` function"
                } else {
                    "checking a closure or a `#[task(local)]` function"
                };
                Unsupported::new(operation, backend)
                    .help("it runs once and cannot be copied: make it a `#[task]` function")
                    .into()
            }
            other => other,
        })
    }

    fn pack<T: Task>(&self, task: T) -> Result<Packed<T>, (T, TaskError)> {
        if let Err(error) = self.verify() {
            return Err((task, error));
        }
        if !self.must_encode() {
            return Ok(Packed { task, cargo: None, slot: 0, weight: 0 });
        }
        let mut payload = self.payload();
        match self.encode(&task, &mut payload) {
            Ok(slot) => {
                let weight = if self.core.capabilities.encodes { payload.size() } else { 0 };
                Ok(Packed { task, cargo: Some(Cargo { ends: vec![payload.extent()], payload }), slot, weight })
            }
            Err(error) => Err((task, error)),
        }
    }

    /// Submits a task that has been admitted.
    fn submit<T: Task>(&self, packed: Packed<T>) -> Handle<T::Output> {
        let Packed { task, mut cargo, slot, .. } = packed;
        let name = <T::Reach as Reach<T>>::name(&task);
        let head = Head::new(
            self.core.clone(),
            self.policy.clone(),
            ids(1),
            self.core.hub.next_batch(),
            0,
            name,
            slot,
            1,
            false,
            None,
        );
        let item = self.item(task, cargo.as_mut().map(|cargo| &mut cargo.payload), self.is_clocked());
        let cargo = cargo.map(Arc::new);
        let node: Arc<Single<T>> = Node::new(head, [item], cargo.clone());
        self.start(node.clone(), cargo);
        Handle::new(node)
    }

    /// An item for a task whose arguments may be encoded already. What of them is not there yet goes
    /// there now, and the task is dropped; unless it is to run here first.
    fn item<T: Task>(&self, task: T, cargo: Option<&mut Payload>, clocked: bool) -> Item<T> {
        let runs_encoded = self.core.capabilities.encodes || self.core.hub.settings().checked;
        let task = match cargo.filter(|_| runs_encoded) {
            Some(payload) => {
                <T::Reach as Reach<T>>::hand_over(task, payload);
                None
            }
            None => Some(task),
        };
        Item::new(task, clocked.then(Instant::now))
    }

    /// Whether somebody wants to know when a task was submitted.
    fn is_clocked(&self) -> bool {
        self.core.hub.measuring() || self.has_limits()
    }

    fn has_limits(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.has_limits())
    }

    fn start(&self, work: Arc<dyn Work>, cargo: Option<Arc<Cargo>>) {
        let head = work.head();
        let count = head.count;
        let told = if self.is_clocked() { count } else { 0 };
        for item in 0..told {
            self.core.hub.emit(|| Event::Queued {
                task: head.id(item),
                name: head.name.to_owned(),
                index: head.index + u64::from(item),
            });
            if let Some(policy) = &self.policy {
                let limits = [(Clock::Queued, policy.queue_timeout), (Clock::Deadline, policy.deadline)];
                for (clock, limit) in limits.into_iter().filter_map(|(clock, limit)| Some((clock, limit?))) {
                    clock::expire_later(&work, item, 1, clock, limit);
                }
            }
        }
        self.core.backend.submit(Job::new(work, 1, 0..count, cargo));
    }

    pub(crate) fn load<T: Task>(&self, capacity: usize) -> Load<T> {
        Load {
            packer: self.clone(),
            items: Vec::with_capacity(capacity.min(MAX_CHUNK)),
            cargo: Cargo { payload: self.payload(), ends: Vec::with_capacity(capacity.min(MAX_CHUNK)) },
            slot: 0,
            name: "",
            verified: self.verify(),
            encodes: self.must_encode(),
            clocked: self.core.hub.measuring_maps() || self.has_limits(),
        }
    }

    /// Submits a chunk of a map; waits for room in the queue.
    pub(crate) fn submit_chunk<T: Task>(
        &self,
        load: Load<T>,
        batch: u64,
        index: u64,
        inbox: Option<(Arc<Inbox>, u64)>,
    ) -> Result<Arc<Chunk<T>>, TaskError> {
        let Load { items, cargo, slot, name, .. } = load;
        let count = items.len();
        let refused: Vec<u32> = (0..count as u32).filter(|&item| items[item as usize].is_refused()).collect();
        let weight = if self.core.capabilities.encodes { cargo.payload.size() } else { 0 };
        self.core.hub.admit(count - refused.len(), weight)?;
        let cargo = self.must_encode().then(|| Arc::new(cargo));
        if let (Some((inbox, chunk)), false) = (&inbox, refused.is_empty()) {
            refused.iter().for_each(|&item| inbox.push(*chunk, item));
        }
        let head = Head::new(
            self.core.clone(),
            self.policy.clone(),
            ids(count as u64),
            batch,
            index,
            name,
            slot,
            count as u32,
            true,
            inbox,
        );
        let node: Arc<Chunk<T>> = Node::new(head, items, cargo.clone());
        if refused.len() < count {
            self.start(node.clone(), cargo);
        }
        Ok(node)
    }
}

/// Tasks of a chunk that is being filled.
pub(crate) struct Load<T: Task> {
    packer: Packer,
    items: Vec<Item<T>>,
    cargo: Cargo,
    slot: u32,
    name: &'static str,
    // The same for all of them.
    verified: Result<(), TaskError>,
    encodes: bool,
    clocked: bool,
}

impl<T: Task> Load<T> {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn size(&self) -> usize {
        self.cargo.payload.size()
    }

    /// Adds a task. One that cannot be carried has its outcome at once and disturbs no other.
    pub(crate) fn add(&mut self, task: T) {
        let packer = &self.packer;
        let payload = &mut self.cargo.payload;
        self.name = <T::Reach as Reach<T>>::name(&task);
        let mut encoded = self.verified.clone();
        if encoded.is_ok() && self.encodes {
            let start = payload.extent();
            encoded = packer.encode(&task, payload).map(|slot| self.slot = slot);
            if encoded.is_err() {
                payload.truncate(start);
            }
        }
        self.cargo.ends.push(payload.extent());
        self.items.push(match encoded {
            Ok(()) => packer.item(task, self.encodes.then_some(payload), self.clocked),
            Err(error) => {
                panic::dispose(task);
                Item::refused(error)
            }
        });
    }
}

/// Ids for `count` tasks, unique in this process.
fn ids(count: u64) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(count, Ordering::Relaxed)
}
