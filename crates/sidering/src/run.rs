//! `sidering run`: parse everything, load resources and identity, start the workers, publish, bind the admin
//! addresses, say that it is ready; then reload on change, and drain on SIGTERM. Whatever fails before it is ready ends
//! the process with one line, and the data path with it.

use std::os::unix::process::parent_id;
use std::path::Path;
use std::sync::Arc;

use rustix::process::set_parent_process_death_signal;
use sd_notify::NotifyState;
use sidering_control::identity::{IdentityFailure, IdentityReport, PublishCredentials};
use sidering_control::{Loaded, Publish, Reload, Reloads, ResourceWatch};
use sidering_identity::{Credentials, read_leaf};
use sidering_net::{Probed, probe};
use sidering_proxy::{Options, Proxy, StartFailure};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::admin;
use crate::bootstrap::{Bootstrap, Identity};
use crate::failure::Failure;
use crate::log::{self, Logging};
use crate::state::{self, Resources, Setup, State};

/// Runs until a signal ends it, or until `parent` has ended.
pub(crate) fn run(config: &Path, parent: Option<u32>, logging: Logging) -> Result<(), Failure> {
    end_on_panic();
    parent.map_or(Ok(()), end_with)?;
    let bootstrap = Bootstrap::read(config)?;
    let probed = probe(bootstrap.driver).map_err(environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(environment)?;
    // This thread is the control thread; the workers are others.
    let outcome = runtime.block_on(sidecar(bootstrap, probed, logging));
    // A blocking call that the second signal cut off is not waited for.
    runtime.shutdown_background();
    outcome
}

/// A core that is gone would be a hole in the data path that nobody sees; a process that is gone is started anew.
fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

/// Nobody would be left to end this process once its parent was killed.
fn end_with(parent: u32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(rustix::process::Signal::TERM)).map_err(environment)?;
    // It may have ended before the kernel was told.
    match parent_id() == parent {
        true => Ok(()),
        false => Err(Failure::Findings("the parent has ended".to_owned())),
    }
}

async fn sidecar(bootstrap: Bootstrap, probed: Probed, logging: Logging) -> Result<(), Failure> {
    let signals = Signals::listen().map_err(environment)?;
    let mut watch = ResourceWatch::new(bootstrap.resources.clone());
    let mut source = bootstrap.identity;
    let Loaded { snapshot, effective, warnings } = watch.load().await.map_err(configuration)?;
    let credentials = source.load().await.map_err(configuration)?;

    let options = Options {
        workers: bootstrap.workers,
        pin: bootstrap.pin,
        access_log: bootstrap.access_log,
        ..Options::new(probed.driver, bootstrap.backend)
    };
    let proxy = start(options)?;
    let (publish_credentials, publish) = publishers(&proxy);
    let (first, offered) = (Arc::clone(&publish_credentials), credentials.clone());
    blocking(move || first(offered)).await.map_err(configuration)?;
    let first = Arc::clone(&publish);
    let version = blocking(move || first(snapshot)).await.map_err(configuration)?;

    let (resource_reload, resource_reloads) = Reload::channel();
    let (identity_reload, identity_reloads) = Reload::channel();
    let setup = Setup {
        proxy: proxy.clone(),
        warnings: bootstrap.warnings.into_iter().chain(about(&credentials, bootstrap.id.as_str())).collect(),
        workload: bootstrap.resources.workload,
        id: bootstrap.id,
        driver: probed.why,
        drain_time: bootstrap.drain_time,
        reloads: vec![identity_reload, resource_reload],
        logging,
    };
    let resources = Resources::first(version, effective, warnings);
    let state = State::new(setup, resources, state::Identity::first(credentials));
    let _socket = admin::serve(&bootstrap.admin, &state).await?;
    state.set_ready();
    announce(&state);

    tokio::spawn(log::refusals(proxy.clone()));
    let reported = Arc::clone(&state);
    tokio::spawn(watch.run(publish, move |report| reported.resources_reported(report), resource_reloads));
    let reported = Arc::clone(&state);
    let report = move |report| reported.identity_reported(report);
    tokio::spawn(source.run(publish_credentials, report, identity_reloads));
    until_ended(signals, state).await?;
    blocking(move || proxy.join()).await.map_err(|failure| Failure::Findings(failure.to_string()))
}

fn start(options: Options) -> Result<Proxy, Failure> {
    Proxy::start(options).map_err(|failure| match failure {
        StartFailure::AccessLog { .. } => configuration(failure),
        StartFailure::Workers(_) => environment(failure),
    })
}

fn publishers(proxy: &Proxy) -> (PublishCredentials, Publish) {
    let (credentials, snapshots) = (proxy.clone(), proxy.clone());
    (
        Arc::new(move |offered| {
            credentials.publish_credentials(offered).map_err(|refusal| refusal.to_string())
        }),
        Arc::new(move |offered| snapshots.publish(offered).map_err(|refusal| refusal.to_string())),
    )
}

/// One line with everything that was decided, for people and for whoever waits.
fn announce(state: &State) {
    let data_path = state.setup.proxy.status();
    let resources = state.resources();
    for warning in state.setup.warnings.iter().chain(&resources.warnings) {
        tracing::warn!("{warning}");
    }
    let listeners: Vec<&str> = data_path.listeners.iter().map(|listener| listener.address.as_str()).collect();
    tracing::info!(
        "sidering ready: {} on {}, {} worker(s), tls {}, snapshot {}, listening on {}",
        state.setup.id,
        state.setup.driver,
        data_path.cores.len(),
        data_path.backend,
        resources.version.0,
        if listeners.is_empty() { "nothing".to_owned() } else { listeners.join(", ") },
    );
    tell_systemd(NotifyState::Ready);
}

/// Reloads on SIGHUP; drains on SIGTERM, SIGINT or `/quitquitquit`, and stops at once on a second one.
async fn until_ended(mut signals: Signals, state: Arc<State>) -> Result<(), Failure> {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                let state = Arc::clone(&state);
                tokio::spawn(async move { state.reload().await });
            }
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            () = state.asked_to_end() => break,
        }
    }
    tell_systemd(NotifyState::Stopping);
    tracing::info!("draining for at most {:?}", state.setup.drain_time);
    tokio::select! {
        drained = blocking(move || state.drain()) => {
            tracing::info!("{}", if drained { "drained" } else { "time is up: the last connections were aborted" });
            Ok(())
        }
        () = signals.again() => Err(Failure::Findings("stopped by a second signal while draining".to_owned())),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Identity {
    async fn load(&mut self) -> Result<Credentials, IdentityFailure> {
        match self {
            Self::Files(source) => source.load().await,
            Self::EmbeddedCa(source) => source.load().await,
        }
    }

    async fn run(self, publish: PublishCredentials, report: impl FnMut(IdentityReport), reloads: Reloads) {
        match self {
            Self::Files(source) => source.run(publish, report, reloads).await,
            Self::EmbeddedCa(source) => source.run(publish, report, reloads).await,
        }
    }
}

/// A certificate for somebody else works until a peer checks: said early.
fn about(credentials: &Credentials, wanted: &str) -> Option<String> {
    let source = &credentials.source;
    match read_leaf(&credentials.chain.certificates[0]) {
        Ok(leaf) if leaf.uris.iter().any(|uri| uri == wanted) => None,
        Ok(leaf) => Some(format!(
            "{source} is for {:?}, but this workload is {wanted}; peers will see the former",
            leaf.uris
        )),
        Err(error) => Some(format!("{source}: {error}")),
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(f).await.expect("calls into the data path do not panic")
}

fn tell_systemd(state: NotifyState<'_>) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[state]);
}

fn configuration(error: impl std::fmt::Display) -> Failure {
    Failure::Configuration(error.to_string())
}

fn environment(error: impl std::fmt::Display) -> Failure {
    Failure::Environment(error.to_string())
}
