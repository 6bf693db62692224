//! Threads of one epoch: each has an actor of its own and keeps it from step to step, so that what it has made in one it
//! finds in the next, in its own caches.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::Scope,
};

/// What an actor is told to do.
type Task<'s, A> = Box<dyn FnOnce(&mut A) + Send + 's>;

/// All actors. The threads end when it is dropped.
pub(super) struct Crew<'s, A> {
    members: Vec<Member<'s, A>>,
}

enum Member<'s, A> {
    /// On the thread that asks.
    Here(A),
    There(SyncSender<Task<'s, A>>),
}

impl<'s, A: Send + 's> Crew<'s, A> {
    /// The first actor works on this thread and each other on one of its own; all of them on this one if `here`.
    pub(super) fn new(scope: &'s Scope<'s, '_>, actors: Vec<A>, here: bool) -> Self {
        let member = |(index, mut actor): (usize, A)| {
            if here || index == 0 {
                return Member::Here(actor);
            }
            let (sender, tasks): (_, Receiver<Task<'s, A>>) = sync_channel(1);
            scope.spawn(move || tasks.iter().for_each(|task| task(&mut actor)));
            Member::There(sender)
        };
        Self { members: actors.into_iter().enumerate().map(member).collect() }
    }

    /// Lets each actor do its part, side by side; what comes of it, in their order. That of an actor that panics is
    /// missing: its scope panics when it ends.
    pub(super) fn each<W: Send + 's, R: Send + 's>(
        &mut self,
        work: Vec<W>,
        act: impl Fn(&mut A, W) -> R + Send + Sync + 's,
    ) -> Vec<R> {
        let act = Arc::new(act);
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for (member, work) in self.members.iter_mut().zip(work) {
            match member {
                Member::Here(actor) => here.push((actor, work)),
                Member::There(tasks) => {
                    let (sender, done) = sync_channel(1);
                    let act = act.clone();
                    let task: Task<'s, A> = Box::new(move |actor| drop(sender.send(act(actor, work))));
                    // Whoever has panicked hears nothing, and says nothing below.
                    drop(tasks.send(task));
                    there.push(done);
                }
            }
        }
        // Those here are the first of all.
        let here: Vec<R> = here.into_iter().map(|(actor, work)| act(actor, work)).collect();
        here.into_iter().chain(there.into_iter().filter_map(|done| done.recv().ok())).collect()
    }
}
