//! The network that isolated containers share: out to the world, in only through published ports, and not to each
//! other.
//!
//! One for all containers, because an engine has about thirty subnets to give. It is made when first needed and
//! known by its name and our label.
//!
//! Docker allows two networks of one name (measured on 20.10.24: twelve at once, `CheckDuplicate` or not), and then
//! starts no container on either, not even one that names the network's id. So whoever makes one looks again
//! afterwards, and whoever finds several keeps the same one: the one in use, else the oldest. A container that
//! could not start for it is started again after that.
//!
//! Where the engine makes the network and forgets that its containers must not reach each other, each container gets
//! one of its own instead, see `network/apart.rs`.

mod apart;

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use runner_core::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::backoff::Backoff;
use crate::engine::{Engine, escape};
use crate::error::EngineError;
use crate::json;
use crate::rules::named_network::by_name;

const OPERATION: &str = "prepare the runners' network";
const RELEASE: &str = "give back the runners' network";

/// The label by which the network is known as ours.
const LABEL: &str = "cnap.runner.network";
/// Containers on the bridge cannot reach each other.
const NO_ICC: (&str, &str) = ("com.docker.network.bridge.enable_icc", "false");

/// The isolated network of one runtime.
#[derive(Debug)]
pub(crate) struct IsolatedNetwork {
    engine: Arc<Engine>,
    name: String,
    /// What was found, until something says that it is gone. The lock also makes concurrent callers wait for one
    /// creation instead of racing.
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// It is there, and keeps its containers apart.
    Shared { gateway: Option<IpAddr> },
    /// The engine has no such network.
    Apart,
}

impl IsolatedNetwork {
    pub(crate) fn new(engine: Arc<Engine>, name: String) -> Self {
        Self { engine, name, known: Mutex::new(None) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes sure that it exists. Returns the address at which all containers reach the engine's host, if there is one
    /// for all.
    pub(crate) async fn ensure(&self) -> Result<Option<IpAddr>> {
        match self.known().await? {
            Known::Shared { gateway } => Ok(gateway),
            Known::Apart => Ok(None),
        }
    }

    /// Makes sure that a container can join; returns the network's name.
    pub(crate) async fn join(&self, container: &str) -> Result<String> {
        match self.known().await? {
            Known::Shared { .. } => Ok(self.name.clone()),
            Known::Apart => apart::make(&self.engine, &self.name, container).await,
        }
    }

    /// A container with a network of its own is gone, or was never made. What cannot be given back now is by
    /// [`release`](Self::release).
    pub(crate) async fn leave(&self, container: &str) {
        if let Err(error) = apart::give_back(&self.engine, &self.name, container).await {
            tracing::debug!(container, %error, "the container's network stays for now");
        }
    }

    /// Whether a container may have a network of its own: so it is, or nobody has needed the network yet.
    pub(crate) async fn may_be_apart(&self) -> bool {
        match self.lock(OPERATION).await {
            Ok(known) => !matches!(*known, Some(Known::Shared { .. })),
            Err(_) => true,
        }
    }

    async fn known(&self) -> Result<Known> {
        let mut known = self.lock(OPERATION).await?;
        if let Some(known) = *known {
            return Ok(known);
        }
        let found = self.settle().await?;
        *known = Some(found);
        Ok(found)
    }

    /// Looks again even if it was found before: the engine says that it is gone, or that there are two.
    pub(crate) async fn ensure_again(&self) -> Result<()> {
        *self.lock(OPERATION).await? = None;
        self.ensure().await.map(drop)
    }

    /// Removes it, and twins of it, unless a container names it. Being in use is not an error.
    pub(crate) async fn release(&self) -> Result<()> {
        let mut known = self.lock(RELEASE).await?;
        if matches!(*known, Some(Known::Apart)) {
            return apart::sweep(&self.engine, &self.name).await.map_err(|e| e.into_core(RELEASE));
        }
        let found = self.named().await.map_err(|e| e.into_core(RELEASE))?;
        let ours: Vec<_> = found.into_iter().filter(is_ours).collect();
        if ours.is_empty() || self.is_named_by_a_container().await.map_err(|e| e.into_core(RELEASE))? {
            return Ok(());
        }
        *known = None;
        for network in ours {
            apart::remove(&self.engine, &network.id).await.map_err(|e| e.into_core(RELEASE))?;
        }
        Ok(())
    }

    /// Waits for its turn, for a bounded time: on an engine that hangs, each one before us takes a whole call's limit.
    async fn lock(&self, operation: &'static str) -> Result<MutexGuard<'_, Option<Known>>> {
        let limit = self.engine.budgets.queue;
        timeout(limit, self.known.lock()).await.map_err(|_| {
            let message =
                format!("other calls are still busy with the network {:?} after {limit:?}", self.name);
            Error::new(ErrorKind::Timeout, operation, message)
                .temporary()
                .with_hint("the engine hangs or is overloaded; see its own log")
        })
    }

    async fn settle(&self) -> Result<Known> {
        let fail = |e: EngineError| e.into_core(OPERATION);
        let mut backoff =
            Backoff::new(Duration::from_millis(20), Duration::from_millis(500), self.engine.budgets.create);
        let mut made = false;
        loop {
            let found = self.named().await.map_err(fail)?;
            if let Some(foreign) = found.iter().find(|n| !is_ours(n)) {
                return Err(self.foreign(foreign));
            }
            match found.as_slice() {
                // Made, by us or by another controller; the next round looks whether it is alone.
                [] => {
                    if made && !backoff.pause().await {
                        return Err(self.vanishing());
                    }
                    self.create().await.map_err(fail)?;
                    made = true;
                }
                // Just made, and not what was asked for: this engine cannot.
                [only] if made && unfit(only).is_some() => {
                    tracing::info!(network = self.name, "the engine keeps containers apart by networks only");
                    apart::remove(&self.engine, &only.id).await.map_err(fail)?;
                    return Ok(Known::Apart);
                }
                [only] => {
                    if let Some(why) = unfit(only) {
                        return Err(self.misfit(why));
                    }
                    let gateway = only.ipam.config.iter().find_map(|c| c.gateway.parse().ok());
                    return Ok(Known::Shared { gateway });
                }
                _ => {
                    self.keep_one(found).await.map_err(fail)?;
                    if !backoff.pause().await {
                        return Err(self.twins());
                    }
                }
            }
        }
    }

    /// Our networks and others of exactly this name.
    async fn named(&self) -> Result<Vec<json::Network>, EngineError> {
        by_name(&self.engine, &self.name).await
    }

    async fn create(&self) -> Result<(), EngineError> {
        let body = serde_json::json!({
            "Name": self.name,
            // Narrows the race on engines that still look at it; bollard's request has no such field.
            "CheckDuplicate": true,
            "Driver": "bridge",
            "Internal": false,
            "Attachable": false,
            "EnableIPv6": false,
            "Options": { NO_ICC.0: NO_ICC.1 },
            "Labels": { LABEL: "isolated" },
        });
        let body = Bytes::from(body.to_string());
        let made: Result<json::Created, _> =
            self.engine.json(Method::POST, "/networks/create", Some(body), self.engine.budgets.create).await;
        match made {
            Ok(made) => {
                tracing::debug!(network = self.name, id = made.id, "made the runners' network");
                Ok(())
            }
            // Another controller was faster.
            Err(EngineError::Status { code: 409, .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Removes all but one of several networks of our name. Every controller chooses the same one.
    async fn keep_one(&self, found: Vec<json::Network>) -> Result<(), EngineError> {
        let mut looked_at = Vec::new();
        for network in found {
            let path = format!("/networks/{}", escape(&network.id));
            match self.engine.json(Method::GET, &path, None, self.engine.budgets.read).await {
                Ok(network) => looked_at.push(network),
                Err(EngineError::Status { code: 404, .. }) => {}
                Err(e) => return Err(e),
            }
        }
        rank(&mut looked_at);
        for loser in looked_at.iter().skip(1) {
            tracing::info!(network = self.name, id = loser.id, "removing a second network of the same name");
            apart::remove(&self.engine, &loser.id).await?;
        }
        Ok(())
    }

    /// Whether any container, running or not, wants to be on it. The engine counts only those that run.
    async fn is_named_by_a_container(&self) -> Result<bool, EngineError> {
        let all: Vec<json::Summary> = self
            .engine
            .json(Method::GET, "/containers/json?all=true", None, self.engine.budgets.read)
            .await?;
        Ok(all.iter().any(|c| c.host_config.network_mode == self.name))
    }

    fn foreign(&self, network: &json::Network) -> Error {
        let id: String = network.id.chars().take(12).collect();
        let message = format!("a network {:?} ({id}) exists and is not ours", self.name);
        Error::new(ErrorKind::AlreadyExists, OPERATION, message)
            .with_hint("remove it, or configure another network name")
    }

    fn misfit(&self, why: &str) -> Error {
        let message = format!("the network {:?} {why}", self.name);
        Error::new(ErrorKind::AlreadyExists, OPERATION, message).with_hint(format!(
            "remove it (docker network rm {}); it is made again as it should be",
            self.name
        ))
    }

    fn vanishing(&self) -> Error {
        let message = format!("the network {:?} disappears as soon as it is made", self.name);
        Error::new(ErrorKind::Engine, OPERATION, message)
            .temporary()
            .with_hint("does something else remove unused networks all the time?")
    }

    fn twins(&self) -> Error {
        let message = format!("there are several networks {:?}, in use and so not removable", self.name);
        Error::new(ErrorKind::Engine, OPERATION, message)
            .temporary()
            .with_hint("remove all but one; until then the engine starts no container on any of them")
    }
}

fn is_ours(network: &json::Network) -> bool {
    network.labels.contains_key(LABEL)
}

/// Why a network of ours does not isolate.
fn unfit(network: &json::Network) -> Option<&'static str> {
    if network.driver != "bridge" {
        return Some("is not a bridge");
    }
    if network.options.get(NO_ICC.0).map(String::as_str) != Some(NO_ICC.1) {
        return Some("lets containers reach each other");
    }
    None
}

/// The one to keep first: in use before unused, then the oldest.
fn rank(networks: &mut [json::Network]) {
    networks.sort_by(|a, b| {
        let key = |n: &json::Network| (Reverse(!n.containers.is_empty()), n.created.clone(), n.id.clone());
        key(a).cmp(&key(b))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> json::Network {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn the_one_in_use_wins_then_the_oldest() {
        let mut all: Vec<_> = [
            r#"{"Id":"c","Name":"n","Created":"2026-01-01T00:00:02Z","Containers":{}}"#,
            r#"{"Id":"b","Name":"n","Created":"2026-01-01T00:00:01Z","Containers":null}"#,
            r#"{"Id":"a","Name":"n","Created":"2026-01-01T00:00:01Z"}"#,
            r#"{"Id":"d","Name":"n","Created":"2026-01-01T00:00:03Z","Containers":{"x":{"Name":"c1"}}}"#,
        ]
        .map(network)
        .into();
        rank(&mut all);
        assert_eq!(all.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(), ["d", "a", "b", "c"]);
    }

    #[test]
    fn a_network_that_does_not_isolate_is_not_used() {
        let fit = r#"{"Id":"a","Name":"n","Driver":"bridge","Options":{"com.docker.network.bridge.enable_icc":"false"}}"#;
        assert_eq!(unfit(&network(fit)), None);
        for text in [
            r#"{"Id":"a","Name":"n","Driver":"bridge","Options":null}"#,
            r#"{"Id":"a","Name":"n","Driver":"bridge","Options":{"com.docker.network.bridge.enable_icc":"true"}}"#,
            r#"{"Id":"a","Name":"n","Driver":"host"}"#,
        ] {
            assert!(unfit(&network(text)).is_some(), "{text}");
        }
    }
}
