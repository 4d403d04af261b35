//! A stream that does as it is told, and a handler that shows what it was asked.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use sidering_http::{
    Body, Done, Drain, Failure, Handler, Length, Limits, Malformed, Outcome, RequestHead, Responder,
    ResponseHead, serve,
};
use sidering_net::{Driver, Stream, TcpStream, block_on, later};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Runs `f` on a core of its own.
pub(crate) fn run<T>(f: impl Future<Output = T>) -> T {
    block_on(Driver::Epoll, f).expect("epoll is always there")
}

/// Runs both to their end.
pub(crate) async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(|cx| {
        if from_a.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            from_a = Some(value);
        }
        if from_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            from_b = Some(value);
        }
        if from_a.is_some() && from_b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (from_a.expect("both are done"), from_b.expect("both are done"))
}

/// What the other side does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends these.
    Bytes(Vec<u8>),
    /// Is not ready once.
    Wait,
    /// Waits for a request: for anything to be written since the last one.
    Asked,
    /// Is never ready again.
    Stall,
    /// Closes.
    End,
}

/// What a `Script` saw; shared with the test.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) written: RefCell<Vec<u8>>,
    pub(crate) writes: Cell<usize>,
    pub(crate) shut: Cell<bool>,
    pub(crate) reset: Cell<bool>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.borrow()).into_owned()
    }
}

/// A stream whose other side follows a script.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    /// Bytes taken per write, with a wait between two writes; 0 takes nothing ever.
    takes: usize,
    /// Bytes taken in all.
    room: usize,
    wait: bool,
    /// How much was written when last asked.
    mark: usize,
    seen: Rc<Seen>,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> (Self, Rc<Seen>) {
        let seen = Rc::new(Seen::default());
        let script = Self {
            steps: steps.into_iter().collect(),
            takes: usize::MAX,
            room: usize::MAX,
            wait: false,
            mark: 0,
            seen: seen.clone(),
        };
        (script, seen)
    }

    /// Sends `raw` and closes.
    pub(crate) fn of(raw: &[u8]) -> (Self, Rc<Seen>) {
        Self::new([Step::Bytes(raw.to_vec()), Step::End])
    }

    /// Answers a request with `raw` and closes.
    pub(crate) fn answering(raw: &[u8]) -> (Self, Rc<Seen>) {
        Self::new([Step::Asked, Step::Bytes(raw.to_vec()), Step::End])
    }

    pub(crate) fn taking(mut self, takes: usize) -> Self {
        self.takes = takes;
        self
    }

    pub(crate) fn taking_in_all(mut self, room: usize) -> Self {
        self.room = room;
        self
    }
}

/// `raw` cut at `cut`, with a wait in between, then the end.
pub(crate) fn cut_at(raw: &[u8], cut: usize) -> Vec<Step> {
    let (a, b) = raw.split_at(cut);
    vec![Step::Bytes(a.to_vec()), Step::Wait, Step::Bytes(b.to_vec()), Step::End]
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.steps.pop_front() {
            Some(Step::Bytes(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                if !rest.is_empty() {
                    self.steps.push_front(Step::Bytes(rest));
                }
                if bytes.is_empty() { self.poll_read(cx, buf) } else { Poll::Ready(Ok(())) }
            }
            Some(Step::Asked) => {
                let written = self.seen.written.borrow().len();
                if written > std::mem::replace(&mut self.mark, written) {
                    return self.poll_read(cx, buf);
                }
                self.steps.push_front(Step::Asked);
                later(cx.waker());
                Poll::Pending
            }
            Some(Step::Wait) => {
                later(cx.waker());
                Poll::Pending
            }
            Some(Step::End) => {
                self.steps.push_front(Step::End);
                Poll::Ready(Ok(()))
            }
            Some(Step::Stall) | None => {
                self.steps.push_front(Step::Stall);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes == 0 || self.room == 0 {
            return Poll::Pending;
        }
        if self.takes < usize::MAX {
            self.wait = !self.wait;
            if self.wait {
                later(cx.waker());
                return Poll::Pending;
            }
        }
        let taken = bytes.len().min(self.takes).min(self.room);
        self.room -= taken;
        self.seen.written.borrow_mut().extend_from_slice(&bytes[..taken]);
        self.seen.writes.set(self.seen.writes.get() + 1);
        Poll::Ready(Ok(taken))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seen.shut.set(true);
        Poll::Ready(Ok(()))
    }
}

impl Stream for Script {
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }
    fn reset(&mut self) {
        self.seen.reset.set(true);
    }
}

/// All of a body, or why it broke off.
pub(crate) async fn whole<S: Stream>(body: &mut Body<S>) -> Result<String, Failure> {
    let mut text = Vec::new();
    while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
        text.extend_from_slice(&data?);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Notes requests; answers 200 with the body it got, 400 to what is malformed.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) log: RefCell<Vec<String>>,
}

impl<S: Stream> Handler<S> for Echo {
    async fn handle(&self, head: RequestHead, mut body: Body<S>, responder: Responder<S>) -> Done {
        let text = match whole(&mut body).await {
            Ok(text) => text,
            Err(failure) => {
                self.log.borrow_mut().push(format!("{} {} {failure:?}", head.method, head.target));
                return responder.close();
            }
        };
        self.log.borrow_mut().push(format!("{} {} {text}", head.method, head.target));
        responder.respond_full(&ResponseHead::new(200), text.as_bytes())
    }

    async fn malformed(&self, why: Malformed, responder: Responder<S>) -> Done {
        self.log.borrow_mut().push(format!("{why:?}"));
        responder.respond_full(&ResponseHead::new(400), b"")
    }
}

/// A handler that is a closure over requests; malformed ones get 400.
pub(crate) struct With<F>(pub(crate) F);

impl<S, F, D> Handler<S> for With<F>
where
    S: Stream,
    F: Fn(RequestHead, Body<S>, Responder<S>) -> D,
    D: Future<Output = Done>,
{
    async fn handle(&self, head: RequestHead, body: Body<S>, responder: Responder<S>) -> Done {
        (self.0)(head, body, responder).await
    }

    async fn malformed(&self, _: Malformed, responder: Responder<S>) -> Done {
        responder.respond_full(&ResponseHead::new(400), b"")
    }
}

/// Limits that a test can wait for.
pub(crate) fn impatient() -> Limits {
    let soon = Duration::from_millis(5);
    Limits { head: soon, idle: soon, body: soon, linger: soon, ..Limits::default() }
}

/// Serves what `script` sends.
pub(crate) fn served<H: Handler<Script>>(
    script: Script,
    handler: &H,
    limits: &Limits,
) -> Result<Outcome, Failure> {
    run(serve(script, handler, limits, &Drain::new()))
}

/// A GET of `/` at host `a`.
pub(crate) fn get() -> RequestHead {
    RequestHead {
        method: sidering_http::Method::GET,
        target: "/".into(),
        authority: Some("a".into()),
        scheme: None,
        version: sidering_http::Version::Http11,
        headers: sidering_http::Headers::new(),
        websocket: false,
    }
}

/// A POST of `/` at host `a`.
pub(crate) fn post() -> RequestHead {
    RequestHead { method: sidering_http::Method::POST, ..get() }
}

pub(crate) const NO_BODY: Length = Length::Empty;
