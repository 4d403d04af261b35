//! Hot reload at 1,000 requests a second: a namespace turns STRICT and back, rules come and go, the endpoint moves. Each
//! answer is judged by the states that may have been in force while its request was under way, and by no other.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sidering_tests::{
    Answer, Connection, HOST, Origin, Pair, Reply, Run, allow, boring_epoll, peer_authentication,
    rustls_io_uring,
};

/// After so many the states repeat.
const EDITS: usize = 24;
/// Kept-alive connections through both sidecars.
const THROUGH: usize = 5;
/// Plaintext ones straight to the server's.
const STRAIGHT: usize = 3;
/// Between two requests of a connection: 1,000 a second on eight.
const PACE: Duration = Duration::from_millis(8);
/// Answers between an acknowledged edit and the next one.
const SETTLED: usize = 50;

#[test]
fn every_answer_is_of_the_old_or_the_new_state_rustls_io_uring() {
    every_answer_is_of_the_old_or_the_new_state(rustls_io_uring());
}

#[test]
fn every_answer_is_of_the_old_or_the_new_state_boring_epoll() {
    every_answer_is_of_the_old_or_the_new_state(boring_epoll());
}

fn every_answer_is_of_the_old_or_the_new_state(run: Run) {
    let pair = Pair::with(run).yaml("service.yaml", State::after(0).yaml()).start();
    let moved = Origin::bind(pair.subnet.address(3, 18080), |_| Answer::ok("moved"));
    let (tell, told) = mpsc::channel();
    let load = Load::start(&pair, tell);
    let mut answers: Vec<Told> = told.iter().take(SETTLED).collect();
    for edit in 1..=EDITS {
        load.edits.begun.store(edit, SeqCst);
        pair.reload(|mesh| {
            // One file, put there whole: all of it changes at once.
            mesh.write("../next.yaml", &State::after(edit).yaml());
            fs::rename(mesh.path("../next.yaml"), mesh.path("service.yaml")).expect("files can be renamed");
        });
        load.edits.acknowledged.store(edit, SeqCst);
        answers.extend(told.try_iter());
        answers.extend(told.iter().take(SETTLED));
    }
    let seconds = load.stop();
    answers.extend(told.iter());

    let count = |way: Option<Way>, verdict| {
        let counts = |told: &&Told| told.verdict == verdict && way.is_none_or(|way| told.way == way);
        answers.iter().filter(counts).count()
    };
    use Verdict::{Closed, Denied, Ended, Moved, Served};
    let requests = answers.len() - count(None, Ended);
    let summary =
        |way| [Served, Moved, Denied, Closed, Ended].map(|verdict| (verdict, count(Some(way), verdict)));
    println!(
        "{run}: {EDITS} reloads, {requests} requests in {seconds:.1} s ({:.0}/s)\n  through both sidecars {:?}\n  plaintext {:?}",
        requests as f64 / seconds,
        summary(Way::Through),
        summary(Way::Straight),
    );
    // Every answer came up, and nothing reached an application but what was answered by it.
    for (way, verdicts) in
        [(Way::Through, &[Served, Moved, Denied][..]), (Way::Straight, &[Served, Denied, Closed, Ended])]
    {
        assert!(verdicts.iter().all(|verdict| count(Some(way), *verdict) > 0), "{:?}", summary(way));
    }
    assert_eq!(pair.origin.seen().len(), count(None, Served));
    assert_eq!(moved.seen().len(), count(None, Moved));
    for sidecar in [&pair.client, &pair.server] {
        let reloads = |result| {
            let result = format!("result=\"{result}\"");
            sidecar.metric("sidering_config_reloads_total", &["of=\"resources\"", &result])
        };
        assert_eq!((reloads("accepted"), reloads("rejected")), ((EDITS + 1) as f64, 0.0));
    }
}

/// What the resources say after that many edits.
#[derive(Clone, Copy, Debug)]
struct State {
    strict: bool,
    rules: Rules,
    moved: bool,
}

/// The AuthorizationPolicies of the server.
#[derive(Clone, Copy, Debug)]
enum Rules {
    None,
    DenyB,
    AllowTheClient,
    AllowA,
}

/// How a request comes to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By mTLS, from the client's sidecar.
    Through,
    /// In plaintext.
    Straight,
}

/// What becomes of a request; or of a connection between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// 200 of the server behind the sidecar.
    Served,
    /// 200 of the one that the endpoint moves to.
    Moved,
    /// 403.
    Denied,
    /// A new connection closed without a byte.
    Closed,
    /// A kept connection that had ended since its last answer. The request is sent again.
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    way: Way,
    verdict: Verdict,
}

impl State {
    fn after(edits: usize) -> Self {
        let rules = [Rules::None, Rules::DenyB, Rules::AllowTheClient, Rules::AllowA];
        Self { strict: edits % 2 == 1, rules: rules[edits / 2 % 4], moved: edits / 3 % 2 == 1 }
    }

    fn yaml(self) -> String {
        let mode = if self.strict { "STRICT" } else { "PERMISSIVE" };
        let policy = match self.rules {
            Rules::None => String::new(),
            Rules::DenyB => allow("p", "to: [{operation: {paths: [/b]}}]").replace("ALLOW", "DENY"),
            Rules::AllowTheClient => {
                allow("p", "from: [{source: {principals: [cluster.local/ns/default/sa/client]}}]")
            }
            Rules::AllowA => allow("p", "to: [{operation: {paths: [/a]}}]"),
        };
        let endpoint = match self.moved {
            true => "{address: NET.3}",
            false => "{address: NET.2, serviceAccount: server}",
        };
        [&peer_authentication("default", mode), &policy, &SERVICE.replace("ENDPOINT", endpoint)]
            .map(String::as_str)
            .join("---\n")
    }

    fn verdict(self, way: Way, path: &str) -> Verdict {
        let allowed = match self.rules {
            Rules::None => true,
            Rules::DenyB => path != "/b",
            Rules::AllowTheClient => way == Way::Through,
            Rules::AllowA => path == "/a",
        };
        match way {
            Way::Through if self.moved => Verdict::Moved,
            Way::Straight if self.strict => Verdict::Closed,
            _ if allowed => Verdict::Served,
            _ => Verdict::Denied,
        }
    }

    /// Every verdict that one of these states gives. The client's sidecar, which knows the endpoints, may have another
    /// than the server's.
    fn verdicts(states: RangeInclusive<usize>, way: Way, path: &str) -> Vec<Verdict> {
        let of = |client: usize, server: usize| {
            State { moved: Self::after(client).moved, ..Self::after(server) }.verdict(way, path)
        };
        states.clone().flat_map(|client| states.clone().map(move |server| of(client, server))).collect()
    }
}

/// Edits so far.
#[derive(Default)]
struct Edits {
    /// May be in force.
    begun: AtomicUsize,
    /// Are in force on both sides.
    acknowledged: AtomicUsize,
}

/// Requests at a pace until told to stop.
struct Load {
    edits: Arc<Edits>,
    stop: Arc<AtomicBool>,
    since: Instant,
    lanes: Vec<JoinHandle<()>>,
}

/// One kept connection, made anew when it has ended.
struct Lane {
    way: Way,
    address: SocketAddr,
    edits: Arc<Edits>,
    /// And the edits that were acknowledged before its last request.
    kept: Option<(Connection, usize)>,
    tell: Sender<Told>,
}

impl Load {
    fn start(pair: &Pair, tell: Sender<Told>) -> Self {
        let (edits, stop, since) = (Arc::<Edits>::default(), Arc::<AtomicBool>::default(), Instant::now());
        let ways = [(Way::Through, pair.subnet.address(1, 8080)); THROUGH].into_iter();
        let ways = ways.chain([(Way::Straight, pair.server_http()); STRAIGHT]);
        let lane = |(way, address)| {
            let mut lane = Lane { way, address, edits: edits.clone(), kept: None, tell: tell.clone() };
            let stop = stop.clone();
            thread::spawn(move || {
                let mut due = since;
                for path in ["/a", "/b"].iter().cycle().take_while(|_| !stop.load(SeqCst)) {
                    lane.ask(path);
                    due += PACE;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            })
        };
        let lanes = ways.map(lane).collect();
        Self { edits, stop, since, lanes }
    }

    /// Seconds that it took.
    fn stop(self) -> f64 {
        self.stop.store(true, SeqCst);
        self.lanes.into_iter().for_each(|lane| lane.join().expect("every answer was right"));
        self.since.elapsed().as_secs_f64()
    }
}

impl Lane {
    fn ask(&mut self, path: &str) {
        if let Some((mut kept, last)) = self.kept.take() {
            let since = self.edits.acknowledged.load(SeqCst);
            if let Some(reply) = attempt(&mut kept, path) {
                self.judge(since, path, verdict(&reply));
                self.kept = Some((kept, since));
                return;
            }
            // What closes it would have closed it at its last request, or since.
            assert!(
                self.states(last).any(|edits| State::after(edits).verdict(self.way, path) == Verdict::Closed)
            );
            self.tell(Verdict::Ended);
        }
        let since = self.edits.acknowledged.load(SeqCst);
        let mut new = Connection::to(self.address);
        let reply = attempt(&mut new, path);
        self.judge(since, path, reply.as_ref().map_or(Verdict::Closed, verdict));
        self.kept = reply.map(|_| (new, since));
    }

    #[track_caller]
    fn judge(&self, since: usize, path: &str, verdict: Verdict) {
        let states = self.states(since);
        let right = State::verdicts(states.clone(), self.way, path);
        assert!(right.contains(&verdict), "{:?} {path}: {verdict:?}, not {right:?} of {states:?}", self.way);
        self.tell(verdict);
    }

    fn states(&self, since: usize) -> RangeInclusive<usize> {
        since..=self.edits.begun.load(SeqCst)
    }

    fn tell(&self, verdict: Verdict) {
        // A test that failed no longer listens.
        let _ = self.tell.send(Told { way: self.way, verdict });
    }
}

/// None where the connection was closed without a byte.
fn attempt(connection: &mut Connection, path: &str) -> Option<Reply> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let sent = connection.stream().write_all(request.as_bytes());
    match sent.and_then(|()| connection.try_reply_to("GET")) {
        Ok(reply) => Some(reply),
        Err(why) => {
            use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            assert!([BrokenPipe, ConnectionReset, UnexpectedEof].contains(&why.kind()), "{why}");
            None
        }
    }
}

fn verdict(reply: &Reply) -> Verdict {
    match (reply.status, reply.text()) {
        (200, "this is server\n") => Verdict::Served,
        (200, "moved") => Verdict::Moved,
        (403, "RBAC: access denied") => Verdict::Denied,
        other => panic!("{other:?}"),
    }
}

const SERVICE: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: server, namespace: default}
spec:
  hosts: [server.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {number: 8080, targetPort: 18080, protocol: HTTP, name: http}
  endpoints:
  - ENDPOINT
";
