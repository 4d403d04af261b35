//! Who listens on a TCP address, by the kernel's own table: the one way to tell a stranger who shares a port with us by
//! SO_REUSEPORT from ourselves.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::SocketId;

/// The state of a listening socket in the table (`TCP_LISTEN`).
const LISTEN: &str = "0A";

/// The sockets of this network namespace that listen on `wanted` or on an address that overlaps with it. An IPv6 socket
/// may take IPv4 connections too; whether one on `::` does is not in the table, so it counts.
pub(crate) fn of(wanted: SocketAddr) -> io::Result<Vec<SocketId>> {
    let tables: &[&str] = if wanted.is_ipv4() { &["tcp", "tcp6"] } else { &["tcp6"] };
    let mut found = Vec::new();
    for table in tables {
        let table = match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            Ok(table) => table,
            // A kernel without IPv6.
            Err(error) if *table == "tcp6" && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for row in table.lines().skip(1) {
            found.extend(listening(row, wanted)?);
        }
    }
    Ok(found)
}

/// `None` unless the row is of such a socket; the columns are described in proc_pid_net(5).
fn listening(row: &str, wanted: SocketAddr) -> io::Result<Option<SocketId>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("socket table: {row}"));
    let mut columns = row.split_ascii_whitespace().skip(1);
    let address = columns.next().and_then(parse).ok_or_else(malformed)?;
    let (state, inode) = (columns.nth(1), columns.nth(5));
    if state != Some(LISTEN) || !overlap(address, wanted) {
        return Ok(None);
    }
    let inode = inode.and_then(|inode| inode.parse().ok()).ok_or_else(malformed)?;
    Ok(Some(SocketId(inode)))
}

fn overlap(listening: SocketAddr, wanted: SocketAddr) -> bool {
    let (is, other) = (listening.ip().to_canonical(), wanted.ip());
    let same_family = is.is_ipv4() == other.is_ipv4();
    let same = is == other || is.is_unspecified() || (same_family && other.is_unspecified());
    same && listening.port() == wanted.port()
}

/// `0100007F:1F90`: words of the address as this machine reads them, and the port.
fn parse(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |word: &str| u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(address)?).into(),
        32 => {
            let words = [0, 8, 16, 24].map(|at| word(address.get(at..at + 8)?));
            let mut octets = [0; 16];
            for (part, word) in octets.chunks_exact_mut(4).zip(words) {
                part.copy_from_slice(&word?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?).into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn id(listener: &TcpListener) -> SocketId {
        let socket = fs::File::from(listener.as_fd().try_clone_to_owned().unwrap());
        SocketId(socket.metadata().unwrap().ino())
    }

    #[test]
    fn who_listens_is_found_by_its_own_and_by_overlapping_addresses() {
        for (own, other, any) in [("127.0.0.1", "127.0.0.2", "0.0.0.0"), ("::1", "::2", "::")] {
            let [own, other, any] = [own, other, any].map(|ip| ip.parse::<IpAddr>().unwrap());
            let listener = TcpListener::bind(SocketAddr::new(own, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let _connected = std::net::TcpStream::connect((own, port)).unwrap();
            assert_eq!(of((own, port).into()).unwrap(), [id(&listener)]);
            assert_eq!(of((any, port).into()).unwrap(), [id(&listener)]);
            assert_eq!(of((other, port).into()).unwrap(), []);
        }
    }

    #[test]
    fn a_socket_of_the_other_family_is_found_where_it_takes_ours() {
        for (listens, found) in [("::", true), ("::ffff:127.0.0.1", true), ("::1", false)] {
            let listener = TcpListener::bind((listens, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            for wanted in ["127.0.0.1", "0.0.0.0"] {
                let wanted = SocketAddr::new(wanted.parse().unwrap(), port);
                assert_eq!(of(wanted).unwrap().contains(&id(&listener)), found, "{listens} {wanted}");
            }
        }
    }
}
