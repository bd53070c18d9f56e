//! Creating a container: once, whatever becomes of the answer.
//!
//! An engine goes on with a creation whose request was cut off. So every request carries a mark of its own as a
//! label, and when the answer does not come, the container of that name and that mark is looked for. A container of
//! the same name with another mark is somebody else's work, even if all its labels are ours.

use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use http::Method;
use runner_core::{ContainerId, ContainerSpec, Error, ErrorKind, Result};

use crate::backoff::Backoff;
use crate::convert;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::json;

pub(crate) const OPERATION: &str = "create the container";

/// The label that tells one request from another.
const MARK: &str = "cnap.runner.create";

pub(crate) async fn create(
    engine: &Engine,
    spec: &ContainerSpec,
    mut body: ContainerCreateBody,
) -> Result<ContainerId> {
    let mark = mark()?;
    body.labels.get_or_insert_default().insert(MARK.to_owned(), mark.clone());
    let platform = spec.platform.as_ref().map_or("", |platform| platform.as_str());
    let options = CreateContainerOptionsBuilder::default().name(&spec.name).platform(platform).build();
    // Boxed: the request's type has every field that an engine knows, and the future holds it twice.
    let call = Box::pin(engine.docker().create_container(Some(options), body));
    match engine.typed(engine.budgets.create, call).await {
        Ok(created) => {
            for warning in &created.warnings {
                tracing::warn!(container = spec.name, warning, "the engine warns about a container");
            }
            convert::id(&created.id).map_err(|e| e.into_core(OPERATION))
        }
        Err(cause) if gives_no_answer(&cause) => lost(engine, spec, &mark, cause).await,
        Err(cause) => {
            let error = cause.into_core(OPERATION);
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(error);
            }
            // In its words first: of two creations at once, the loser hears of a winner that cannot be inspected yet.
            if let Some(id) = id_in(error.message()) {
                return Err(error.with_container(&id));
            }
            Err(match holder(engine, &spec.name).await {
                Ok(Some(doc)) => convert::id(&doc.id).map_or(error.clone(), |id| error.with_container(&id)),
                _ => error,
            })
        }
    }
}

/// The answer did not come. The request may have been carried out, may be under way, or may never have arrived.
async fn lost(engine: &Engine, spec: &ContainerSpec, mark: &str, cause: EngineError) -> Result<ContainerId> {
    tracing::warn!(container = spec.name, error = %cause, "the answer to a creation is lost; looking for the container");
    let mut backoff =
        Backoff::new(Duration::from_millis(20), Duration::from_millis(500), engine.budgets.lost_reply);
    loop {
        match holder(engine, &spec.name).await {
            Ok(Some(doc)) => {
                let id = convert::id(&doc.id).map_err(|e| e.into_core(OPERATION))?;
                if doc.config.labels.get(MARK).is_some_and(|found| found == mark) {
                    return Ok(id);
                }
                let message = format!("the name {:?} belongs to another container", spec.name);
                return Err(Error::new(ErrorKind::AlreadyExists, OPERATION, message)
                    .with_container(&id)
                    .with_hint("remove what holds the name, or use another")
                    .with_source(cause));
            }
            // Under way, perhaps; or the engine is not back yet.
            Ok(None) => {}
            Err(e) if e.may_pass() => {}
            Err(e) => return Err(e.into_core(OPERATION)),
        }
        if !backoff.pause().await {
            return Err(cause.into_core(OPERATION).with_hint(
                "no such container has appeared since; if one does later, it has the labels of this request",
            ));
        }
    }
}

/// Whether the request may have been carried out although it seems to have failed. What stands between us and an
/// engine gives 502 to 504 for an answer that it did not get.
fn gives_no_answer(cause: &EngineError) -> bool {
    match cause {
        EngineError::Broken { .. } | EngineError::Timeout { .. } | EngineError::Decode { .. } => true,
        EngineError::Status { code, .. } => matches!(code, 502..=504),
        _ => false,
    }
}

/// The container that has a name.
async fn holder(engine: &Engine, name: &str) -> Result<Option<json::Container>, EngineError> {
    // The spec was validated: a name has no character that could bend the path.
    let path = format!("/containers/{name}/json");
    match engine.json(Method::GET, &path, None, engine.budgets.read).await {
        Ok(doc) => Ok(Some(doc)),
        Err(e) if e.is_gone() => Ok(None),
        Err(e) => Err(e),
    }
}

/// The whole id of a container in an engine's message.
fn id_in(message: &str) -> Option<ContainerId> {
    // The last: what comes before it is the name, which may look like an id, too.
    let mut words = message.rsplit(|c: char| !c.is_ascii_alphanumeric());
    let id = words.find(|word| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit()))?;
    ContainerId::new(id).ok()
}

/// Random enough that nobody else has it.
pub(crate) fn mark() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::new(ErrorKind::HostResources, OPERATION, "the system gives no random numbers").with_source(e)
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holders_id_is_read_from_the_engines_words() {
        let id = "0123456789abcdef".repeat(4);
        let text = format!(
            "Conflict. The container name \"/a\" is already in use by container \"{id}\". You have to"
        );
        assert_eq!(id_in(&text).unwrap().as_str(), id);
        let name = "f".repeat(64);
        assert_eq!(id_in(&text.replace("/a", &name)).unwrap().as_str(), id, "a name may look like an id");
        for none in ["", "in use by container \"f00\"", &format!("{id}0"), &id.replace('0', "g")] {
            assert_eq!(id_in(none), None, "{none}");
        }
    }

    #[test]
    fn marks_differ() {
        let (one, two) = (mark().unwrap(), mark().unwrap());
        assert_eq!((one.len(), two.len()), (32, 32));
        assert_ne!(one, two);
    }
}
