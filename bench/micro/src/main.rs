//! `micro NAME COUNT` does one piece of the data path COUNT times. `count.py` runs it under valgrind with two counts:
//! the difference is what one costs, without set-up. Not a benchmark by itself: nothing here is timed.

mod http;
mod policy;
mod tls;

use std::error::Error;

/// As in the sidecar.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let count = words.next().unwrap_or_default().parse()?;
    match name.as_str() {
        "accept" => policy::accept(count),
        "authorize" => policy::authorize(count),
        "route" => policy::route(count),
        "http-server" => http::server(count),
        "http-client" => http::client(count),
        "tls-record" => tls::record(count),
        "tls-handshake" => tls::handshake(count),
        _ => Err(format!("no piece is called {name:?}").into()),
    }
}
