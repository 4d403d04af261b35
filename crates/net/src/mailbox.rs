//! From any thread to one worker, woken through the worker's doorbell. Used for publishing and for control.

/// The sending side; any thread may hold it.
#[derive(Debug)]
pub struct Sender<T>(std::marker::PhantomData<fn(T)>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        todo!()
    }
}

impl<T: Send> Sender<T> {
    /// Hands `item` over; never blocks.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub fn send(&self, _item: T) -> Result<(), T> {
        todo!()
    }
}

/// The receiving side; made anywhere, used on one worker.
#[derive(Debug)]
pub struct Receiver<T>(std::marker::PhantomData<fn() -> T>);

impl<T: Send> Receiver<T> {
    /// The next item in order of sending; `None` once every sender is gone.
    pub async fn recv(&mut self) -> Option<T> {
        todo!()
    }
}

/// An unbounded mailbox.
pub fn mailbox<T: Send>() -> (Sender<T>, Receiver<T>) {
    todo!()
}
