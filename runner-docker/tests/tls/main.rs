//! TLS to an engine, with two providers of cryptography in the graph, which is where guessing one panics: every way
//! in which it does not work is an error of its own, and none shows a key.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod authority;
mod engine;

use std::fs;
use std::path::Path;
use std::time::Duration;

use authority::{Authority, Identity, write};
use engine::{TlsEngine, blunt};
use runner_core::container::{Network, UserSpec};
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, Error, ErrorKind, Result, Retry};
use runner_docker::{
    ClientFiles, DockerConfig, DockerHost, DockerRuntime, EndpointSources, Origin, TlsFiles, find_endpoint,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(5);

/// Everything that fits together: an engine of "localhost" that lets in its authority's clients, and such a client.
struct Lab {
    dir: TempDir,
    authority: Authority,
    client: Identity,
    engine: TlsEngine,
    files: TlsFiles,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let client = authority.client();
        let engine = TlsEngine::new(&authority.engine(&["localhost"]), Some(&authority)).await;
        let files = write(&dir.path().join("certs"), &authority, Some(&client));
        Self { dir, authority, client, engine, files }
    }

    fn directory(&self) -> &Path {
        self.files.ca.as_ref().unwrap().parent().unwrap()
    }

    async fn connect(&self) -> Result<DockerRuntime> {
        self.connect_with(self.files.clone()).await
    }

    async fn connect_with(&self, files: TlsFiles) -> Result<DockerRuntime> {
        connect("localhost", self.engine.port, files).await
    }
}

async fn connect(host: &str, port: u16, files: TlsFiles) -> Result<DockerRuntime> {
    connect_to(DockerHost::Tls { host: host.to_owned(), port, files }).await
}

async fn connect_to(host: DockerHost) -> Result<DockerRuntime> {
    let mut config = DockerConfig { host, ..DockerConfig::default() };
    config.budgets.connect = LIMIT;
    DockerRuntime::connect(config).await
}

fn assert_lasting(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!((error.kind(), error.retry()), (kind, Retry::Permanent), "{error}");
    assert!(error.message().contains(text), "{text}: {error}");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
}

#[tokio::test]
async fn nothing_is_guessed_where_there_are_two_providers() {
    let guess = std::panic::catch_unwind(|| drop(rustls::ClientConfig::builder()));
    assert!(guess.is_err(), "with one provider, this file proves less than it says");
    let lab = Lab::new().await;
    let runtime = lab.connect().await.unwrap();
    runtime.inspect(&ContainerId::new("abc").unwrap()).await.unwrap();
    let text = format!("{runtime:?}");
    assert!(text.contains(&format!("https://localhost:{}", lab.engine.port)), "{text}");
}

#[tokio::test]
async fn an_engine_that_nobody_we_trust_has_signed_is_refused() {
    let lab = Lab::new().await;
    // The same name, another key.
    let other = write(&lab.dir.path().join("other"), &Authority::new(), Some(&lab.client));
    let error = lab.connect_with(other.clone()).await.unwrap_err();
    assert_lasting(&error, ErrorKind::Connection, "not signed by an authority in ");
    assert!(error.message().contains(&other.ca.unwrap().display().to_string()), "{error}");
    // The system's roots do not know it either; a bare system has none, which is said as well.
    let error = lab.connect_with(TlsFiles { ca: None, ..lab.files.clone() }).await.unwrap_err();
    assert!(error.message().contains("the system's roots") || error.message().contains("no root"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_too_old_or_for_somebody_else_is_refused() {
    let lab = Lab::new().await;
    lab.engine.becomes(&lab.authority.expired_engine(&["localhost"]), None);
    assert_lasting(&lab.connect().await.unwrap_err(), ErrorKind::Connection, "has expired");
    lab.engine.becomes(&lab.authority.engine(&["elsewhere.example"]), None);
    assert_lasting(&lab.connect().await.unwrap_err(), ErrorKind::Connection, "is for another name");
    // An address is a name like any other.
    lab.engine.becomes(&lab.authority.engine(&["127.0.0.1"]), None);
    connect("127.0.0.1", lab.engine.port, lab.files.clone()).await.unwrap();
    let error = connect("-", lab.engine.port, lab.files.clone()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Permanent, "{error}");
}

/// The refusal comes after the handshake, and races with our request: whatever wins, it is told as what it is.
#[tokio::test]
async fn an_engine_that_does_not_accept_us_says_so() {
    let lab = Lab::new().await;
    for _ in 0..100 {
        let files = TlsFiles { client: None, ..lab.files.clone() };
        let error = lab.connect_with(files).await.unwrap_err();
        assert_lasting(&error, ErrorKind::Unauthorized, "asks for a client's certificate");
    }
    for (name, client) in [("stranger", Authority::new().client()), ("late", lab.authority.expired_client())]
    {
        let files = write(&lab.dir.path().join(name), &lab.authority, Some(&client));
        let certificate = files.client.clone().unwrap().certificate;
        let error = lab.connect_with(files).await.unwrap_err();
        assert_lasting(&error, ErrorKind::Unauthorized, "refuses the certificate");
        assert!(error.message().contains(&certificate.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_and_not_quoted() {
    let lab = Lab::new().await;
    let client = lab.files.client.clone().unwrap();
    let secret = lab.client.key.lines().nth(1).unwrap().to_owned();
    // Every line of a key that is no PEM any more.
    let damaged = lab.client.key.replace("-----END", "-----").replace('=', "!");
    let odd_line = format!("-----BEGIN PRIVATE KEY----- {secret}\n{secret}\n");
    let twice = format!(
        "{}-----BEGIN CERTIFICATE-----\n{secret}!\n-----END CERTIFICATE-----\n",
        lab.authority.certificate
    );
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = lab.client.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let other = Authority::new().client();
    let ca = lab.files.ca.as_deref().unwrap();
    for (path, text, why) in [
        (ca, "garbage", "has no PEM certificate"),
        (ca, twice.as_str(), "is damaged"),
        (ca, empty, "is not one"),
        (client.certificate.as_path(), "", "has no PEM certificate"),
        (client.certificate.as_path(), other.certificate.as_str(), "is no key for the certificate"),
        (client.key.as_path(), secret.as_str(), "has no PEM private key"),
        (client.key.as_path(), damaged.as_str(), "is damaged"),
        (client.key.as_path(), odd_line.as_str(), "is damaged"),
        (client.key.as_path(), encrypted.as_str(), "is encrypted"),
        (client.key.as_path(), lab.authority.certificate.as_str(), "has no PEM private key"),
    ] {
        let good = fs::read(path).unwrap();
        fs::write(path, text).unwrap();
        let error = lab.connect().await.unwrap_err();
        assert_lasting(&error, ErrorKind::InvalidInput, why);
        assert!(error.message().contains(&path.display().to_string()), "{error}");
        assert!(!format!("{error:?} {}", error.chain()).contains(&secret), "{error:?}");
        fs::write(path, good).unwrap();
    }
    for path in [ca, &client.certificate, &client.key] {
        let files =
            |from: &Path| if from == path { lab.dir.path().join("none.pem") } else { from.to_owned() };
        let files = TlsFiles {
            ca: Some(files(ca)),
            client: Some(ClientFiles { certificate: files(&client.certificate), key: files(&client.key) }),
        };
        assert_lasting(
            &lab.connect_with(files).await.unwrap_err(),
            ErrorKind::InvalidInput,
            "none.pem cannot be read",
        );
    }
    lab.connect().await.unwrap();
}

#[tokio::test]
async fn plain_and_secure_ports_are_told_apart() {
    let lab = Lab::new().await;
    // Plain HTTP to a TLS port: rustls answers with an alert, Go with a sentence.
    let plain = |port| connect_to(DockerHost::Tcp { host: "127.0.0.1".to_owned(), port });
    let error = plain(lab.engine.port).await.unwrap_err();
    assert_lasting(&error, ErrorKind::Protocol, "a port that wants TLS");
    let (go, _task) =
        blunt(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n").await;
    let error = plain(go).await.unwrap_err();
    assert_lasting(&error, ErrorKind::Protocol, "HTTPS server");
    assert!(error.hint().is_some_and(|hint| hint.contains("DOCKER_TLS_VERIFY=1")), "{error}");
    // TLS to a plain port.
    let (http, _task) = blunt(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request").await;
    let error = connect("localhost", http, lab.files.clone()).await.unwrap_err();
    assert_lasting(&error, ErrorKind::Protocol, "does not speak TLS");
    // Nobody, and somebody who says nothing: as without TLS.
    let error = connect("127.0.0.1", 1, lab.files.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary), "{error}");
    let (silent, _task) = blunt(b"").await;
    let host = DockerHost::Tls { host: "localhost".to_owned(), port: silent, files: lab.files.clone() };
    let mut config = DockerConfig { host, ..DockerConfig::default() };
    config.budgets.connect = Duration::from_millis(200);
    let error = DockerRuntime::connect(config).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary), "{error}");
}

#[tokio::test]
async fn a_later_call_tells_the_same() {
    let lab = Lab::new().await;
    let runtime = lab.connect().await.unwrap();
    lab.engine.becomes(&Authority::new().engine(&["localhost"]), None);
    let mut spec = ContainerSpec::new("name", "img:1".parse().unwrap(), UserSpec { uid: 1000, gid: 1000 });
    spec.network = Network::None;
    // Through bollard, and without it.
    assert_lasting(&runtime.create(&spec).await.unwrap_err(), ErrorKind::Connection, "not signed by");
    let error = runtime.inspect(&ContainerId::new("abc").unwrap()).await.unwrap_err();
    assert_lasting(&error, ErrorKind::Connection, "not signed by");
}

// ---- which engine, over TLS

#[tokio::test]
async fn docker_host_is_secure_where_verification_is_set() {
    let lab = Lab::new().await;
    let sources = EndpointSources {
        docker_host: Some(format!("tcp://localhost:{}", lab.engine.port)),
        docker_tls_verify: Some("1".to_owned()),
        docker_cert_path: Some(lab.directory().to_owned()),
        ..EndpointSources::default()
    };
    let want =
        DockerHost::Tls { host: "localhost".to_owned(), port: lab.engine.port, files: lab.files.clone() };
    let find = |sources: EndpointSources| async move { find_endpoint(&sources, LIMIT).await };
    let found = find(sources.clone()).await.unwrap();
    assert_eq!((&found.host, &found.origin), (&want, &Origin::DockerHost));
    // "0" must not switch verification off.
    let zero = EndpointSources { docker_tls_verify: Some("0".to_owned()), ..sources.clone() };
    assert_eq!(find(zero).await.unwrap().host, want);
    // Without a directory of its own, the files beside config.json.
    let config = EndpointSources {
        docker_config: sources.docker_cert_path.clone(),
        docker_cert_path: None,
        ..sources.clone()
    };
    assert_eq!(find(config).await.unwrap().host, want);
    // Unset or empty: plain, and the port says that this is wrong.
    for unset in [None, Some(String::new())] {
        let plain = EndpointSources { docker_tls_verify: unset, ..sources.clone() };
        let error = find(plain).await.unwrap_err();
        assert_lasting(&error, ErrorKind::Protocol, "a port that wants TLS");
        assert!(error.message().contains("DOCKER_HOST"), "{error}");
    }
    fs::remove_file(lab.files.client.clone().unwrap().key).unwrap();
    assert_lasting(&find(sources.clone()).await.unwrap_err(), ErrorKind::InvalidInput, "key.pem is missing");
    let nowhere = EndpointSources { docker_cert_path: Some(lab.dir.path().join("none")), ..sources };
    assert_lasting(&find(nowhere).await.unwrap_err(), ErrorKind::InvalidInput, "none/ca.pem is missing");
}

#[tokio::test]
async fn a_context_brings_its_own_files() {
    let lab = Lab::new().await;
    let id = format!("{:x}", Sha256::digest(b"far"));
    let contexts = lab.dir.path().join("contexts");
    let meta = contexts.join("meta").join(&id);
    fs::create_dir_all(&meta).unwrap();
    let text = format!(
        r#"{{"Name":"far","Endpoints":{{"docker":{{"Host":"tcp://localhost:{}","SkipTLSVerify":false}}}}}}"#,
        lab.engine.port
    );
    fs::write(meta.join("meta.json"), text).unwrap();
    write(&contexts.join("tls").join(&id).join("docker"), &lab.authority, Some(&lab.client));
    let sources = EndpointSources {
        docker_config: Some(lab.dir.path().to_owned()),
        docker_context: Some("far".to_owned()),
        ..EndpointSources::default()
    };
    let found = find_endpoint(&sources, LIMIT).await.unwrap();
    assert_eq!(found.host.to_string(), format!("https://localhost:{}", lab.engine.port));
    connect_to(found.host).await.unwrap();
    // An error names the context as well.
    lab.engine.becomes(&Authority::new().engine(&["localhost"]), None);
    let error = find_endpoint(&sources, LIMIT).await.unwrap_err();
    assert_lasting(&error, ErrorKind::Connection, "not signed by an authority in ");
    assert!(error.message().contains("\"far\""), "{error}");
}
