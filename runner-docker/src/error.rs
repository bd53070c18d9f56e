//! What an engine says → what kind of error it is, whether to try again, and the way out.

use std::io;
use std::time::Duration;

use runner_core::{Error, ErrorKind, Retry};

pub(crate) use crate::clean::clean;
use crate::tls::TlsFailure;
use crate::wire::WireError;

/// Why a call to the engine failed; becomes the core error in one place, [`EngineError::into_core`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// Nobody could be reached.
    #[error("no connection to {host}")]
    Dial {
        host: String,
        #[source]
        source: io::Error,
    },
    /// Somebody could be reached, and not in the secure way that was asked for.
    #[error("no secure connection to {host}: {failure}")]
    Tls { host: String, failure: TlsFailure },
    /// A connection was made and broke.
    #[error("the connection to the engine broke")]
    Broken {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine answered with a failure.
    #[error("{message}")]
    Status { code: u16, message: String },
    /// The engine reported a failure inside a pull's stream.
    #[error("{message}")]
    Pull { message: String },
    /// The call's time limit ran out.
    #[error("no answer within {after:?}")]
    Timeout { after: Duration },
    /// All places for calls were taken for too long.
    #[error("none of {places} places for calls became free within {after:?}")]
    Queue { places: usize, after: Duration },
    /// There is no version of the interface that both sides know.
    #[error("{message}")]
    Version { message: String, hint: &'static str },
    /// The answer is not what the interface promises.
    #[error("the engine's answer cannot be read: {message}")]
    Decode { message: String },
}

/// The verdict on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: ErrorKind,
    pub(crate) retry: Retry,
    pub(crate) hint: Option<&'static str>,
}

const fn verdict(kind: ErrorKind, retry: Retry, hint: &'static str) -> Verdict {
    Verdict { kind, retry, hint: if hint.is_empty() { None } else { Some(hint) } }
}

/// A text that an engine's message may contain, and what it means. Compared in lower case.
type Rule = (&'static str, Verdict);

const FREE_DISK: &str = "free disk space where the engine keeps its data and where the workspaces are";
const NO_POOL: &str = "remove unused networks, or give the engine more default-address-pools";
const CHAINS: &str =
    "something flushed the engine's firewall rules; restart the engine, which makes them again";
const LIMITS: &str = "the engine's own limit is lower; ask for a lower nofile limit or raise the engine's";
const PORT: &str = "the host port was taken in between; a new start chooses another";
const GET_IMAGE: &str = "pull or build the image first, or correct its name";
const LOGIN: &str = "the name is wrong, or the registry wants a login; pull or build the image first";
const REGISTRY: &str = "check the way to the registry, or pull or build the image first";
const ENTRY: &str = "check the command and the image's entry point";
const WANTS_TLS: &str = "that port wants TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or use https://";
const REPLACED: &str = "the engine was replaced by one of another version; connect again";
const SOURCE: &str = "the engine does not see that directory; make it first, where the engine runs";

/// Failures of the host, which any call may meet, whatever the status.
const HOST_RULES: &[Rule] = &[
    ("no space left on device", verdict(ErrorKind::HostResources, Retry::Permanent, FREE_DISK)),
    ("disk quota exceeded", verdict(ErrorKind::HostResources, Retry::Permanent, FREE_DISK)),
    ("non-overlapping ipv4 address pool", verdict(ErrorKind::HostResources, Retry::Permanent, NO_POOL)),
    ("address pools have been fully subnetted", verdict(ErrorKind::HostResources, Retry::Permanent, NO_POOL)),
    ("no available ipv4 addresses", verdict(ErrorKind::HostResources, Retry::Temporary, NO_POOL)),
    ("no chain/target/match", verdict(ErrorKind::HostResources, Retry::Permanent, CHAINS)),
    ("setrlimit", verdict(ErrorKind::HostResources, Retry::Permanent, LIMITS)),
    ("error setting rlimit", verdict(ErrorKind::HostResources, Retry::Permanent, LIMITS)),
    (
        "cannot allocate memory",
        verdict(ErrorKind::HostResources, Retry::Temporary, "the host has no memory left"),
    ),
    (
        "too many open files",
        verdict(ErrorKind::HostResources, Retry::Temporary, "the engine is out of descriptors"),
    ),
    ("resource temporarily unavailable", verdict(ErrorKind::HostResources, Retry::Temporary, "")),
    ("port is already allocated", verdict(ErrorKind::Engine, Retry::Temporary, PORT)),
    ("address already in use", verdict(ErrorKind::Engine, Retry::Temporary, PORT)),
    ("device or resource busy", verdict(ErrorKind::Engine, Retry::Temporary, "")),
    // Go's servers and nginx, to a plain request.
    ("http request to an https server", verdict(ErrorKind::Protocol, Retry::Permanent, WANTS_TLS)),
    ("http request was sent to https port", verdict(ErrorKind::Protocol, Retry::Permanent, WANTS_TLS)),
    ("daemon is shutting down", verdict(ErrorKind::EngineUnavailable, Retry::Temporary, "")),
];

/// Failures to run what a container should run.
const RUN_RULES: &[Rule] = &[
    ("invalid mount config", verdict(ErrorKind::Workspace, Retry::Permanent, SOURCE)),
    ("bind source path does not exist", verdict(ErrorKind::Workspace, Retry::Permanent, SOURCE)),
    ("runtime create failed", verdict(ErrorKind::Engine, Retry::Permanent, ENTRY)),
    ("executable file not found", verdict(ErrorKind::Engine, Retry::Permanent, ENTRY)),
    (
        "unable to set memory limit",
        verdict(ErrorKind::Engine, Retry::Temporary, "the container uses more than that; give it more"),
    ),
    ("range of cpus is from", verdict(ErrorKind::InvalidInput, Retry::Permanent, "the host has fewer cores")),
    // Podman, with runc and with crun. The last is said of a missing directory as well as of a missing program.
    ("error mounting", verdict(ErrorKind::Workspace, Retry::Permanent, SOURCE)),
    ("crun: cannot stat", verdict(ErrorKind::Workspace, Retry::Permanent, SOURCE)),
    ("to invoke a command that was not found", verdict(ErrorKind::Engine, Retry::Permanent, ENTRY)),
    ("unknown runtime", verdict(ErrorKind::Unsupported, Retry::Permanent, "")),
    (
        "storage-opt",
        verdict(ErrorKind::Unsupported, Retry::Permanent, "this storage driver has no size limit"),
    ),
];

/// Failures to fetch an image.
const PULL_RULES: &[Rule] = &[
    ("toomanyrequests", verdict(ErrorKind::ImageUnavailable, Retry::Temporary, "the registry limits pulls")),
    (
        "no matching manifest",
        verdict(ErrorKind::ImageUnavailable, Retry::Permanent, "not for this architecture"),
    ),
    ("manifest unknown", verdict(ErrorKind::ImageUnavailable, Retry::Permanent, GET_IMAGE)),
    ("manifest for", verdict(ErrorKind::ImageUnavailable, Retry::Permanent, GET_IMAGE)),
    ("not found", verdict(ErrorKind::ImageUnavailable, Retry::Permanent, GET_IMAGE)),
    ("denied", verdict(ErrorKind::ImageUnavailable, Retry::Permanent, LOGIN)),
    ("unauthorized", verdict(ErrorKind::ImageUnavailable, Retry::Permanent, LOGIN)),
    ("authentication required", verdict(ErrorKind::ImageUnavailable, Retry::Permanent, LOGIN)),
    ("no basic auth credentials", verdict(ErrorKind::ImageUnavailable, Retry::Permanent, LOGIN)),
    (
        "certificate",
        verdict(ErrorKind::ImageUnavailable, Retry::Permanent, "the registry's certificate is not trusted"),
    ),
    ("invalid reference format", verdict(ErrorKind::InvalidInput, Retry::Permanent, GET_IMAGE)),
];

fn find(rules: &[Rule], message: &str) -> Option<Verdict> {
    let message = message.to_ascii_lowercase();
    rules.iter().find(|(text, _)| message.contains(text)).map(|(_, verdict)| *verdict)
}

/// The verdict on a reply with a failure status.
pub(crate) fn judge(code: u16, message: &str) -> Verdict {
    use ErrorKind as Kind;
    use Retry::{Permanent, Temporary};
    if let Some(found) = find(HOST_RULES, message).or_else(|| find(RUN_RULES, message)) {
        return found;
    }
    let lower = message.to_ascii_lowercase();
    match code {
        // "client version 1.53 is too new. Maximum supported API version is 1.41", or too old.
        400 if lower.contains("client version") && lower.contains("is too ") => {
            verdict(Kind::UnsupportedVersion, Permanent, REPLACED)
        }
        400 => verdict(Kind::InvalidInput, Permanent, ""),
        401 => verdict(Kind::Unauthorized, Permanent, ""),
        403 => verdict(Kind::PermissionDenied, Permanent, ""),
        404 if lower.contains("no such image") => verdict(Kind::ImageUnavailable, Permanent, GET_IMAGE),
        // It exists, for another machine: pulling by the same name would change nothing.
        404 if lower.contains("the specified platform") => {
            verdict(Kind::ImageUnavailable, Permanent, "get the image for this architecture")
        }
        // Before the network: a container may have one in its name.
        404 if lower.contains("no such container") => verdict(Kind::NotFound, Permanent, ""),
        404 if lower.contains("network") => {
            verdict(Kind::Engine, Temporary, "the network is made again when needed")
        }
        // A router's words, Docker's and Podman's: there is no such call.
        404 if lower.contains("page not found") || lower == "not found" => {
            verdict(Kind::Unsupported, Permanent, "the engine is too old")
        }
        404 => verdict(Kind::NotFound, Permanent, ""),
        // Podman says these with 500.
        500 if lower.contains("name is already in use") || lower.contains("network already exists") => {
            verdict(Kind::AlreadyExists, Permanent, "remove what holds the name, or use another")
        }
        500 if lower.contains("container state improper") => verdict(Kind::NotReady, Permanent, ""),
        409 if lower.contains("already in use") || lower.contains("already exists") => {
            verdict(Kind::AlreadyExists, Permanent, "remove what holds the name, or use another")
        }
        409 if lower.contains("is already in progress") => verdict(Kind::Engine, Temporary, ""),
        409 if ["is not running", "is paused", "a paused container"]
            .iter()
            .any(|text| lower.contains(text)) =>
        {
            verdict(Kind::NotReady, Permanent, "")
        }
        501 => verdict(Kind::Unsupported, Permanent, ""),
        502..=504 => verdict(Kind::EngineUnavailable, Temporary, "the engine is starting or going down"),
        408 | 429 | 500.. => verdict(Kind::Engine, Temporary, ""),
        _ => verdict(Kind::Engine, Permanent, ""),
    }
}

/// The verdict on a failed pull. What is not known to last, such as a registry that cannot be reached, may pass.
pub(crate) fn judge_pull(message: &str) -> Verdict {
    let host = find(HOST_RULES, message).filter(|v| v.kind == ErrorKind::HostResources);
    // "no such host" and the like contain no rule's text.
    host.or_else(|| find(PULL_RULES, message)).unwrap_or(verdict(
        ErrorKind::ImageUnavailable,
        Retry::Temporary,
        REGISTRY,
    ))
}

/// The verdict on a connection that could not be made.
pub(crate) fn judge_dial(kind: io::ErrorKind) -> (Verdict, &'static str) {
    use ErrorKind::{EngineUnavailable, PermissionDenied};
    use Retry::{Permanent, Temporary};
    match kind {
        io::ErrorKind::NotFound => (
            verdict(EngineUnavailable, Temporary, "start Docker, or name another engine (DOCKER_HOST)"),
            "there is no socket",
        ),
        io::ErrorKind::PermissionDenied => (
            verdict(
                PermissionDenied,
                Permanent,
                "run as a user who may use the socket (often the group `docker`), or use a rootless engine",
            ),
            "this user may not use the socket",
        ),
        io::ErrorKind::ConnectionRefused => (
            verdict(
                EngineUnavailable,
                Temporary,
                "start the engine; an address alone does not mean that it runs",
            ),
            "nobody listens there",
        ),
        _ => (
            verdict(EngineUnavailable, Temporary, "check the engine and its address (DOCKER_HOST)"),
            "no connection",
        ),
    }
}

impl EngineError {
    /// The error of an exchange.
    pub(crate) fn of_wire(error: WireError, host: &str) -> Self {
        match error {
            WireError::Dial(source) => Self::Dial { host: host.to_owned(), source },
            WireError::Tls(failure) => Self::Tls { host: host.to_owned(), failure },
            WireError::Broken(source) => Self::broken(source),
        }
    }

    fn broken(source: hyper::Error) -> Self {
        if source.is_parse() {
            let message = "it is not HTTP, perhaps a port that wants TLS".to_owned();
            return Self::Decode { message };
        }
        Self::Broken { source: Box::new(source) }
    }

    /// bollard's error. Over our own transport an I/O error is a failed connection, except inside a stream, whose
    /// reader wraps what it meets as "other".
    pub(crate) fn of_bollard(error: bollard::errors::Error, host: &str) -> Self {
        use bollard::errors::Error as Theirs;
        match error {
            Theirs::DockerResponseServerError { status_code, message } => {
                Self::Status { code: status_code, message: clean(&message) }
            }
            Theirs::DockerStreamError { error } => Self::Pull { message: clean(&error) },
            Theirs::IOError { err } => match err.downcast::<TlsFailure>() {
                Ok(failure) => Self::Tls { host: host.to_owned(), failure },
                Err(err) if err.kind() != io::ErrorKind::Other => {
                    Self::Dial { host: host.to_owned(), source: err }
                }
                Err(err) => Self::Broken { source: Box::new(err) },
            },
            Theirs::HyperResponseError { err } => Self::broken(err),
            other => Self::Decode { message: clean(&other.to_string()) },
        }
    }

    /// The status of the reply and the engine's message, if it answered with a failure.
    pub(crate) fn status(&self) -> Option<(u16, &str)> {
        match self {
            Self::Status { code, message } => Some((*code, message)),
            _ => None,
        }
    }

    /// The thing asked about is not there.
    pub(crate) fn is_gone(&self) -> bool {
        self.status().is_some_and(|(code, message)| judge(code, message).kind == ErrorKind::NotFound)
    }

    /// A path is not in the container, which is there itself. Both are a 404.
    pub(crate) fn is_path_missing(&self) -> bool {
        self.status().is_some_and(|(code, message)| {
            code == 404 && !message.is_empty() && !message.to_ascii_lowercase().contains("no such container")
        })
    }

    /// The container is not running, so there is nothing to kill.
    pub(crate) fn is_not_running(&self) -> bool {
        self.status().is_some_and(|(code, message)| {
            (code == 409 && message.contains("is not running"))
                || (code == 500 && message.contains("can only kill running containers"))
        })
    }

    /// Another thing has the name.
    pub(crate) fn is_name_taken(&self) -> bool {
        self.status().is_some_and(|(code, message)| judge(code, message).kind == ErrorKind::AlreadyExists)
    }

    /// Somebody else is removing the container.
    pub(crate) fn is_removal_in_progress(&self) -> bool {
        self.status().is_some_and(|(code, message)| code == 409 && message.contains("already in progress"))
    }

    /// The network that a container should join is missing, or its name has become ambiguous: the engine allows
    /// two networks of one name, and then starts no container on either.
    pub(crate) fn is_network_unusable(&self) -> bool {
        self.status().is_some_and(|(code, message)| {
            let about_network = message.to_ascii_lowercase().contains("network ");
            about_network
                && ((code == 404 && message.contains("not found")) || message.contains("is ambiguous"))
        })
    }

    /// The network cannot be removed because a container is attached.
    pub(crate) fn is_network_in_use(&self) -> bool {
        self.status().is_some_and(|(code, message)| {
            matches!(code, 403 | 409 | 500)
                && (message.contains("active endpoints") || message.contains("being used"))
        })
    }

    /// The engine could not be reached, or was lost: it may be restarting.
    pub(crate) fn is_engine_lost(&self) -> bool {
        match self {
            Self::Dial { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::Broken { .. } | Self::Timeout { .. } => true,
            Self::Status { code, message } => judge(*code, message).kind == ErrorKind::EngineUnavailable,
            _ => false,
        }
    }

    /// Whether the failure says nothing about what was asked for, so that the same question may be answered later: the
    /// engine is away, slow, overloaded or confused.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Status { .. } => self.is_temporary_status() || self.is_engine_lost(),
            Self::Dial { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::Queue { .. }
            | Self::Decode { .. } => true,
            _ => false,
        }
    }

    /// Whether nobody listens any more, or the connection was cut: what an engine that goes down does to its clients.
    /// A lack of descriptors here, or a name that cannot be looked up, is something else.
    pub(crate) fn looks_like_absence(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound};
        match self {
            Self::Dial { source, .. } => matches!(
                source.kind(),
                ConnectionRefused | ConnectionReset | ConnectionAborted | BrokenPipe | NotFound
            ),
            Self::Broken { .. } => true,
            _ => false,
        }
    }

    /// The engine failed, and the same call may succeed in a moment.
    pub(crate) fn is_temporary_status(&self) -> bool {
        self.status().is_some_and(|(code, message)| judge(code, message).retry == Retry::Temporary)
    }

    /// The one conversion into the core error.
    pub(crate) fn into_core(self, operation: &'static str) -> Error {
        self.into_core_about(operation, "")
    }

    /// The same, with the thing it is about before the engine's words.
    pub(crate) fn into_core_about(self, operation: &'static str, about: &str) -> Error {
        let build = |verdict: Verdict, message: &str| {
            let error =
                Error::new(verdict.kind, operation, format!("{about}{message}")).with_retry(verdict.retry);
            match verdict.hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        };
        let text = self.to_string();
        match self {
            Self::Dial { host, source } => {
                let (verdict, what) = judge_dial(source.kind());
                build(verdict, &format!("{what} at {host}")).with_source(source)
            }
            // An I/O error takes any cause and passes its chain on.
            Self::Broken { source } => build(
                verdict(ErrorKind::Connection, Retry::Temporary, "is the engine being restarted?"),
                &text,
            )
            .with_source(io::Error::other(source)),
            Self::Status { code, message } if message.is_empty() => {
                build(judge(code, ""), &format!("the engine answered {code}"))
            }
            Self::Status { code, message } => build(judge(code, &message), &message),
            Self::Pull { message } => build(judge_pull(&message), &message),
            Self::Timeout { .. } => build(
                verdict(
                    ErrorKind::Timeout,
                    Retry::Temporary,
                    "the engine hangs or is overloaded; see its own log",
                ),
                &text,
            ),
            Self::Tls { failure, .. } => build(verdict(failure.kind, Retry::Permanent, failure.hint), &text),
            Self::Version { hint, .. } => {
                build(verdict(ErrorKind::UnsupportedVersion, Retry::Permanent, hint), &text)
            }
            Self::Queue { .. } => {
                build(verdict(ErrorKind::Timeout, Retry::Temporary, "the engine is overloaded"), &text)
            }
            Self::Decode { .. } => build(verdict(ErrorKind::Protocol, Retry::Permanent, ""), &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use ErrorKind as Kind;
    use Retry::{Permanent, Temporary};

    use super::*;

    /// Texts as engine 20.10.24 writes them, where it could be brought to.
    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn every_known_reply_has_its_kind_and_retry_status() {
        let cases: &[(u16, &str, ErrorKind, Retry)] = &[
            (404, "No such image: nope:1", Kind::ImageUnavailable, Permanent),
            (
                404,
                "image with reference x was found but does not match the specified platform: wanted linux/arm64",
                Kind::ImageUnavailable,
                Permanent,
            ),
            (404, "No such container: abc", Kind::NotFound, Permanent),
            (404, "Could not find the file /x in container abc", Kind::NotFound, Permanent),
            (404, "network cnap-runner not found", Kind::Engine, Temporary),
            (404, "page not found", Kind::Unsupported, Permanent),
            (
                409,
                "Conflict. The container name \"/a\" is already in use by container \"b\". You have to remove",
                Kind::AlreadyExists,
                Permanent,
            ),
            (409, "network with name a already exists", Kind::AlreadyExists, Permanent),
            (409, "removal of container a is already in progress", Kind::Engine, Temporary),
            (409, "Cannot kill container: a: Container b is not running", Kind::NotReady, Permanent),
            (409, "Container a is paused. Unpause the container first", Kind::NotReady, Permanent),
            (409, "cannot start a paused container, try unpause instead", Kind::NotReady, Permanent),
            (
                400,
                "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
                Kind::InvalidInput,
                Permanent,
            ),
            (
                500,
                "Cannot update container a: runc did not terminate successfully: exit status 1: unable to set \
                 memory limit to 268435456 (current usage: 301506560, peak usage: 301948928) : unknown",
                Kind::Engine,
                Temporary,
            ),
            (
                500,
                "driver failed programming external connectivity on endpoint a: Error starting userland proxy: \
                 listen tcp4 127.0.0.1:80: bind: address already in use",
                Kind::Engine,
                Temporary,
            ),
            (500, "Bind for 127.0.0.1:80 failed: port is already allocated", Kind::Engine, Temporary),
            (
                400,
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start \
                 container process: exec: \"/nope\": stat /nope: no such file or directory: unknown",
                Kind::Engine,
                Permanent,
            ),
            (
                400,
                "invalid mount config for type \"bind\": bind source path does not exist: /x",
                Kind::Workspace,
                Permanent,
            ),
            (400, "Minimum memory limit allowed is 6MB", Kind::InvalidInput, Permanent),
            (400, "Invalid filter 'x'", Kind::InvalidInput, Permanent),
            (
                400,
                "client version 1.53 is too new. Maximum supported API version is 1.41",
                Kind::UnsupportedVersion,
                Permanent,
            ),
            (
                400,
                "client version 1.32 is too old. Minimum supported API version is 1.44, please upgrade",
                Kind::UnsupportedVersion,
                Permanent,
            ),
            (400, "Client sent an HTTP request to an HTTPS server.", Kind::Protocol, Permanent),
            (401, "", Kind::Unauthorized, Permanent),
            (403, "no", Kind::PermissionDenied, Permanent),
            (
                500,
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
                Kind::Unsupported,
                Permanent,
            ),
            (501, "configured logging driver does not support reading", Kind::Unsupported, Permanent),
            (500, "mkdir /var/lib/docker/x: no space left on device", Kind::HostResources, Permanent),
            (
                500,
                "could not find an available, non-overlapping IPv4 address pool among the defaults",
                Kind::HostResources,
                Permanent,
            ),
            (
                500,
                "Unable to enable DNAT rule: iptables: No chain/target/match by that name.",
                Kind::HostResources,
                Permanent,
            ),
            (
                400,
                "OCI runtime create failed: error setting rlimit type 7: operation not permitted",
                Kind::HostResources,
                Permanent,
            ),
            (500, "fork/exec /usr/bin/runc: cannot allocate memory", Kind::HostResources, Temporary),
            (500, "unlinkat /var/lib/docker/a: device or resource busy", Kind::Engine, Temporary),
            (503, "", Kind::EngineUnavailable, Temporary),
            (500, "something new", Kind::Engine, Temporary),
            (418, "something new", Kind::Engine, Permanent),
        ];
        for (code, message, kind, retry) in cases {
            let found = judge(*code, message);
            assert_eq!((found.kind, found.retry), (*kind, *retry), "{code} {message}");
        }
    }

    /// Measured on 4.3 with runc.
    #[test]
    fn podmans_words_are_understood() {
        let cases: &[(u16, &str, Kind)] = &[
            (
                500,
                "container create: creating container storage: the container name \"a\" is already in use by 1. You \
                 have to remove that container to be able to reuse that name: that name is already in use",
                Kind::AlreadyExists,
            ),
            (500, "network name a already used: network already exists", Kind::AlreadyExists),
            (500, "\"exited\" is not running, can't pause: container state improper", Kind::NotReady),
            (404, "Not Found", Kind::Unsupported),
            (404, "no container with name or ID \"a\" found: no such container", Kind::NotFound),
            (
                500,
                "runc: runc create failed: unable to start container process: error during container init: error \
                 mounting \"/x\" to rootfs at \"/y\": stat /x: no such file or directory: OCI runtime attempted to \
                 invoke a command that was not found",
                Kind::Workspace,
            ),
            (
                500,
                "crun: executable file `/nope` not found: No such file or directory: OCI runtime attempted to invoke \
                 a command that was not found",
                Kind::Engine,
            ),
        ];
        for (code, message, kind) in cases {
            let found = judge(*code, message);
            assert_eq!((found.kind, found.retry), (*kind, Permanent), "{code} {message}");
        }
    }

    #[test]
    fn a_failed_pull_is_permanent_only_where_a_retry_cannot_help() {
        for (message, kind, retry) in [
            ("pull access denied for x, repository does not exist", Kind::ImageUnavailable, Permanent),
            ("manifest for x:1 not found: manifest unknown", Kind::ImageUnavailable, Permanent),
            ("unauthorized: authentication required", Kind::ImageUnavailable, Permanent),
            (
                "no matching manifest for linux/amd64 in the manifest list entries",
                Kind::ImageUnavailable,
                Permanent,
            ),
            (
                "Get \"https://r/v2/\": dial tcp: lookup r on 10.0.0.1:53: no such host",
                Kind::ImageUnavailable,
                Temporary,
            ),
            ("Get \"https://r/v2/\": net/http: TLS handshake timeout", Kind::ImageUnavailable, Temporary),
            ("unexpected EOF", Kind::ImageUnavailable, Temporary),
            ("toomanyrequests: too many requests", Kind::ImageUnavailable, Temporary),
            ("failed to register layer: no space left on device", Kind::HostResources, Permanent),
        ] {
            let found = judge_pull(message);
            assert_eq!((found.kind, found.retry), (kind, retry), "{message}");
            assert!(found.hint.is_some(), "{message}");
        }
    }

    #[test]
    fn a_failed_connection_says_what_to_do() {
        for (kind, want, retry) in [
            (io::ErrorKind::NotFound, Kind::EngineUnavailable, Temporary),
            (io::ErrorKind::ConnectionRefused, Kind::EngineUnavailable, Temporary),
            (io::ErrorKind::HostUnreachable, Kind::EngineUnavailable, Temporary),
            (io::ErrorKind::PermissionDenied, Kind::PermissionDenied, Permanent),
        ] {
            let e = EngineError::Dial { host: "unix:///x".into(), source: kind.into() }.into_core("connect");
            assert_eq!((e.kind(), e.retry()), (want, retry), "{kind:?}");
            assert!(e.hint().is_some() && e.message().contains("unix:///x"), "{e}");
        }
    }

    #[test]
    fn predicates_follow_the_texts_of_the_engine() {
        let status = |code, message: &str| EngineError::Status { code, message: message.to_owned() };
        assert!(status(404, "network cnap-runner not found").is_network_unusable());
        assert!(
            status(400, "network x is ambiguous (2 matches found on name)").is_network_unusable(),
            "measured: 400"
        );
        assert!(!status(404, "No such container: network").is_network_unusable());
        assert!(!status(404, "network cnap-runner not found").is_gone(), "the container is not what is gone");
        assert!(status(404, "No such container: a").is_gone());
        assert!(status(404, "No such container: my-network").is_gone());
        assert!(!status(404, "No such image: a").is_gone());
        assert!(status(404, "Could not find the file /x in container a").is_path_missing());
        assert!(!status(404, "No such container: a").is_path_missing());
        assert!(
            status(403, "error while removing network: network x id y has active endpoints")
                .is_network_in_use()
        );
        assert!(status(409, "removal of container a is already in progress").is_removal_in_progress());
        assert!(
            status(500, "can only kill running containers. a is in state exited: container state improper")
                .is_not_running()
        );
        assert!(status(500, "network name a already used: network already exists").is_name_taken());
        assert!(
            status(500, "\"a\" has associated containers with it: network is being used").is_network_in_use()
        );
        assert!(status(500, "anything").is_temporary_status());
    }
}
