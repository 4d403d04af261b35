//! What a test runs on: each driver, and each TLS backend where it concerns TLS. A driver that is missing is a
//! failure, not a skip.

use std::fmt;

/// One combination.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// `runtime.driver` of the bootstrap.
    pub driver: &'static str,
    /// `tls.backend` of the bootstrap.
    pub backend: &'static str,
}

/// rustls on io_uring.
pub fn rustls_io_uring() -> Run {
    Run { driver: "io_uring", backend: "rustls" }
}

/// rustls on epoll.
pub fn rustls_epoll() -> Run {
    Run { driver: "epoll", backend: "rustls" }
}

/// BoringSSL on io_uring.
pub fn boring_io_uring() -> Run {
    Run { driver: "io_uring", backend: "boring" }
}

/// BoringSSL on epoll.
pub fn boring_epoll() -> Run {
    Run { driver: "epoll", backend: "boring" }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.backend, self.driver)
    }
}

/// Runs each of these functions, which take a [`Run`], on both drivers.
#[macro_export]
macro_rules! on_both_drivers {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[test]
            fn io_uring() { super::$test($crate::rustls_io_uring()) }
            #[test]
            fn epoll() { super::$test($crate::rustls_epoll()) }
        }
    )+};
}

/// Runs each of these functions, which take a [`Run`], on both drivers with each TLS backend.
#[macro_export]
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[test]
            fn rustls_io_uring() { super::$test($crate::rustls_io_uring()) }
            #[test]
            fn rustls_epoll() { super::$test($crate::rustls_epoll()) }
            #[test]
            fn boring_io_uring() { super::$test($crate::boring_io_uring()) }
            #[test]
            fn boring_epoll() { super::$test($crate::boring_epoll()) }
        }
    )+};
}
