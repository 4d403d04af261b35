//! Traffic as Istio's metrics tell it apart: one series for each combination of who, where, how and what came of it.
//! A core has its own, so counting takes no lock; their number is bounded whatever peers send.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::{HashMap, HashMapExt};
use sidering_identity::SpiffeId;
use sidering_policy::Direction;

use crate::counters::Counter;
use crate::histogram::{BYTES, Distribution, Histogram, MILLISECONDS};
use crate::status::{self, RequestProtocol, Security};

/// What tells one series from another. What is the workload's own is the same in all and not repeated here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Labels {
    /// Inbound: we are the destination. Outbound: the source.
    pub direction: Direction,
    /// As Istio's `request_protocol`.
    pub protocol: RequestProtocol,
    /// HTTP status; 0 where the exchange ended without one, and for opaque bytes.
    pub code: u16,
    /// gRPC's own status, where the response's head had one.
    pub grpc_status: Option<u8>,
    /// Envoy's response flag, `-` for none.
    pub flag: &'static str,
    /// Whether the mesh's side of it was mutual TLS.
    pub security: Security,
    /// The authenticated peer: the client of what is inbound, the server of what is outbound.
    pub peer: Option<SpiffeId>,
    /// Where it went.
    pub cluster: Option<Arc<str>>,
}

/// The same, on loan: what is counted mostly has a series already.
#[derive(Clone, Copy)]
pub(crate) struct Traffic<'a> {
    pub(crate) direction: Direction,
    pub(crate) protocol: RequestProtocol,
    pub(crate) code: u16,
    pub(crate) grpc_status: Option<u8>,
    pub(crate) flag: &'static str,
    pub(crate) security: Security,
    pub(crate) peer: Option<&'a SpiffeId>,
    pub(crate) cluster: Option<&'a Arc<str>>,
}

/// One series of one core. HTTP and opaque bytes have one type: a series is cheap, and few are of both kinds.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    pub(crate) requests: Counter,
    pub(crate) duration: Histogram,
    pub(crate) request_bytes: Histogram,
    pub(crate) response_bytes: Histogram,
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
}

/// What a core keeps its series in.
#[derive(Default)]
pub(crate) struct Book {
    series: RefCell<HashMap<Labels, Arc<Series>>>,
}

/// The part that others read.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    series: Mutex<Vec<Arc<Series>>>,
    full: AtomicBool,
}

/// From here on new series say neither who nor where.
const NAMED: usize = 1024;
/// From here on they say nothing but the direction, the protocol and the security.
const MOST: usize = 2048;

impl Traffic<'_> {
    /// Whether these are its labels.
    pub(crate) fn is(&self, labels: &Labels) -> bool {
        self.code == labels.code
            && self.direction == labels.direction
            && self.protocol == labels.protocol
            && self.grpc_status == labels.grpc_status
            && self.security == labels.security
            && self.flag == labels.flag
            && self.cluster == labels.cluster.as_ref()
            && self.peer == labels.peer.as_ref()
    }

    fn labels(&self) -> Labels {
        Labels {
            direction: self.direction,
            protocol: self.protocol,
            code: self.code,
            grpc_status: self.grpc_status,
            flag: self.flag,
            security: self.security,
            peer: self.peer.cloned(),
            cluster: self.cluster.cloned(),
        }
    }
}

impl Book {
    /// The series of such traffic, which is put on the shelf when it is new.
    pub(crate) fn of(&self, traffic: &Traffic<'_>, shelf: &Shelf) -> Arc<Series> {
        let mut book = self.series.borrow_mut();
        let mut labels = traffic.labels();
        if !book.contains_key(&labels) && book.len() >= NAMED {
            shelf.full.store(true, Relaxed);
            (labels.peer, labels.cluster) = (None, None);
            if !book.contains_key(&labels) && book.len() >= MOST {
                (labels.code, labels.grpc_status, labels.flag) = (0, None, "-");
            }
        }
        book.entry(labels)
            .or_insert_with_key(|labels| {
                let series = Arc::new(Series::new(labels.clone()));
                shelf.locked().push(series.clone());
                series
            })
            .clone()
    }
}

/// Adds up what all cores have of each.
pub(crate) fn sum<'a>(cores: impl Iterator<Item = &'a Shelf>) -> Vec<status::Traffic> {
    let mut all: HashMap<Labels, status::Traffic> = HashMap::new();
    for series in cores.flat_map(Shelf::all) {
        let sum = all.entry(series.labels.clone()).or_insert_with_key(|labels| status::Traffic {
            labels: labels.clone(),
            requests: 0,
            duration: Distribution::new(&MILLISECONDS),
            request_bytes: Distribution::new(&BYTES),
            response_bytes: Distribution::new(&BYTES),
            opened: 0,
            closed: 0,
            received_bytes: 0,
            sent_bytes: 0,
        });
        sum.requests += series.requests.value();
        series.duration.add_to(&mut sum.duration);
        series.request_bytes.add_to(&mut sum.request_bytes);
        series.response_bytes.add_to(&mut sum.response_bytes);
        sum.opened += series.opened.value();
        sum.closed += series.closed.value();
        sum.received_bytes += series.received_bytes.value();
        sum.sent_bytes += series.sent_bytes.value();
    }
    all.into_values().collect()
}

impl Shelf {
    pub(crate) fn all(&self) -> Vec<Arc<Series>> {
        self.locked().clone()
    }

    /// Traffic has been counted under labels that say less of it.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Series>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn new(labels: Labels) -> Self {
        Self {
            labels,
            requests: Counter::default(),
            duration: Histogram::new(&MILLISECONDS),
            request_bytes: Histogram::new(&BYTES),
            response_bytes: Histogram::new(&BYTES),
            opened: Counter::default(),
            closed: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(code: u16) -> Traffic<'static> {
        Traffic {
            direction: Direction::Inbound,
            protocol: RequestProtocol::Http,
            code,
            grpc_status: None,
            flag: "-",
            security: Security::None,
            peer: None,
            cluster: None,
        }
    }

    #[test]
    fn the_same_traffic_has_the_same_series() {
        let (book, shelf) = (Book::default(), Shelf::default());
        let cluster: Arc<str> = "inbound|80||".into();
        let there = Traffic { cluster: Some(&cluster), ..traffic(200) };
        let series = book.of(&there, &shelf);
        assert!(there.is(&series.labels) && !traffic(200).is(&series.labels));
        assert!(Arc::ptr_eq(&series, &book.of(&there, &shelf)));
        assert!(!Arc::ptr_eq(&series, &book.of(&traffic(200), &shelf)));
        assert_eq!(shelf.all().len(), 2);
        assert!(!shelf.is_full());
    }

    #[test]
    fn peers_and_codes_without_end_make_no_series_without_end() {
        let (book, shelf) = (Book::default(), Shelf::default());
        for n in 0..5_000_u16 {
            let peer = SpiffeId::parse(&format!("spiffe://a/ns/b/sa/c{n}")).unwrap();
            book.of(&Traffic { peer: Some(&peer), ..traffic(200) }, &shelf);
        }
        assert_eq!(shelf.all().len(), NAMED + 1, "the rest is counted without a name");
        assert!(shelf.is_full());
        for code in 0..5_000 {
            book.of(&traffic(code), &shelf);
        }
        let rest = book.of(&traffic(4_999), &shelf);
        assert_eq!((rest.labels.code, shelf.all().len()), (0, MOST));
    }
}
