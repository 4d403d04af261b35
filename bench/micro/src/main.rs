//! `micro NAME COUNT` does one piece of the data path COUNT times. `count.py` runs it under valgrind with two counts:
//! the difference is what one costs, without set-up. `micro times` times the decisions, `micro
//! compile` a big mesh, whose files `micro mesh DIRECTORY` writes.

mod http;
mod mesh;
mod policies;
mod policy;
mod times;
mod tls;

use std::error::Error;

/// As in the sidecar.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let operand = words.next().unwrap_or_default();
    match name.as_str() {
        "times" => return times::print(),
        "compile" => return mesh::compile(),
        "mesh" => return mesh::write(operand.as_ref()),
        _ => {}
    }
    let count = operand.parse()?;
    match name.as_str() {
        "accept" => repeat(count, policy::accept()?),
        "authorize-10" => repeat(count, policies::authorize(10)?),
        "authorize-1000" => repeat(count, policies::authorize(1000)?),
        "authorize" => policy::authorize(count),
        "route" => policy::route(count),
        "http-server" => http::server(count),
        "http-client" => http::client(count),
        "tls-record" => tls::record(count),
        "tls-handshake" => tls::handshake(count),
        _ => Err(format!("no piece is called {name:?}").into()),
    }
}

fn repeat(count: usize, one: impl FnMut()) -> Result {
    std::iter::repeat_with(one).take(count).for_each(drop);
    Ok(())
}
