//! The floor: the calls that nobody can leave out, one after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use runner_compat::Stack;
use runner_core::container::MountSource;
use runner_core::workspace_provider::WorkspaceRequest;
use runner_core::{AgentId, TaskId, WorkspaceProvider};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::engine::{Engine, exchange};

/// Between two probes: as dense as makes sense; without any pause the probes would slow the boot they wait for.
const PAUSE: Duration = Duration::from_millis(2);
/// A probe can hang for ever on a port whose server does not listen yet.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
const START_LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Reference {
    engine: Engine,
    config: Value,
    host: Value,
    network: Value,
}

impl Reference {
    /// Makes containers like this one.
    pub(crate) async fn like(engine: Engine, container: &str) -> Result<Self, Failure> {
        let shown = engine.inspect(container).await;
        let config = shown.get("Config").ok_or("no Config")?.clone();
        let host = shown.get("HostConfig").ok_or("no HostConfig")?.clone();
        let name = host.get("NetworkMode").and_then(Value::as_str).ok_or("no NetworkMode")?;
        let network = json!({ "EndpointsConfig": { name: {} } });
        Ok(Self { engine, config, host, network })
    }

    /// One start. Directories and secrets are made before the clock runs, as an idle controller could.
    pub(crate) async fn start(
        &self,
        stack: &Stack,
        agent: &AgentId,
        task: &str,
    ) -> Result<Duration, Failure> {
        let task_id = TaskId::new(task)?;
        let settings = stack.agent_settings().clone();
        let request = WorkspaceRequest { agent: agent.clone(), task: task_id.clone(), settings };
        let prepared = stack.workspaces().prepare(&request).await?;
        let mut body = self.config.clone();
        let mut host = self.host.clone();
        let mounts: Vec<_> = prepared
            .mounts
            .iter()
            .filter_map(|m| match &m.source {
                MountSource::HostPath(path) => Some(
                    json!({ "Type": "bind", "Source": path, "Target": m.target, "ReadOnly": m.read_only }),
                ),
                _ => None,
            })
            .collect();
        set(&mut host, "Mounts", json!(mounts))?;
        set(&mut body, "HostConfig", host)?;
        set(&mut body, "NetworkingConfig", self.network.clone())?;
        let token = BASE64_STANDARD.encode(format!("opencode:{}", prepared.password.expose()));
        let authorization = format!("Authorization: Basic {token}\r\n");

        let name = format!("cnap-bench-{task}-{}", std::process::id());
        let began = Instant::now();
        let (status, made) =
            self.engine.call("POST", &format!("/containers/create?name={name}"), Some(&body)).await;
        if status != 201 {
            return Err(format!("create answered {status}: {made}").into());
        }
        let ready = timeout(START_LIMIT, self.to_session(&name, &authorization)).await;
        let took = began.elapsed();
        let (status, gone) =
            self.engine.call("DELETE", &format!("/containers/{name}?force=true&v=true"), None).await;
        if status != 204 {
            return Err(format!("remove answered {status}: {gone}").into());
        }
        stack.workspaces().release(&task_id).await?;
        stack.workspaces().discard_state(&task_id).await?;
        ready.map_err(|_| "the reference was not ready in time")??;
        Ok(took)
    }

    async fn to_session(&self, name: &str, authorization: &str) -> Result<(), Failure> {
        let (status, answer) = self.engine.call("POST", &format!("/containers/{name}/start"), None).await;
        if status != 204 {
            return Err(format!("start answered {status}: {answer}").into());
        }
        let shown = self.engine.inspect(name).await;
        let port = shown
            .pointer("/NetworkSettings/Ports/4096~1tcp/0/HostPort")
            .and_then(Value::as_str)
            .ok_or("no port is published")?;
        let address: SocketAddr = format!("127.0.0.1:{port}").parse()?;
        let probe = || timeout(PROBE_LIMIT, send(address, "GET", "/global/health", authorization, None));
        while probe().await.ok().flatten() != Some(200) {
            sleep(PAUSE).await;
        }
        let session = json!({ "title": "reference" });
        let path = "/session?directory=%2Fworkspace";
        match timeout(START_LIMIT, send(address, "POST", path, authorization, Some(&session))).await? {
            Some(200) => Ok(()),
            other => Err(format!("making a session answered {other:?}").into()),
        }
    }
}

fn set(object: &mut Value, key: &str, value: Value) -> Result<(), Failure> {
    object.as_object_mut().ok_or("not an object")?.insert(key.to_owned(), value);
    Ok(())
}

async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    auth: &str,
    body: Option<&Value>,
) -> Option<u16> {
    let stream = TcpStream::connect(address).await.ok()?;
    exchange(stream, method, path, auth, body).await.ok().map(|(status, _)| status)
}
