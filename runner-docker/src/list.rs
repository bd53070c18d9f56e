//! Containers by label.

use futures::stream::{self, StreamExt, TryStreamExt};
use http::Method;
use runner_core::container::Labels;
use runner_core::{ContainerId, ContainerInfo, Result};

use crate::convert;
use crate::engine::{Engine, escape};
use crate::error::EngineError;
use crate::json;
use crate::wait::inspect;

const OPERATION: &str = "list containers";

/// Inspects at once, for those whose summary does not tell enough.
const INSPECTS: usize = 8;

pub(crate) async fn list(engine: &Engine, labels: &Labels) -> Result<Vec<ContainerInfo>> {
    let filter: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let filter = serde_json::json!({ "label": filter }).to_string();
    let path = format!("/containers/json?all=true&filters={}", escape(&filter));
    let found: Vec<json::Summary> = engine
        .json(Method::GET, &path, None, engine.budgets.read)
        .await
        .map_err(|e| e.into_core(OPERATION))?;
    // Whoever removes what it is given must be able to rely on it, so the engine's filter is not trusted.
    let ours = found.into_iter().filter(|doc| has_all(&doc.labels, labels));
    let infos: Vec<Option<ContainerInfo>> = stream::iter(ours)
        .map(|doc| describe(engine, doc))
        .buffered(INSPECTS)
        .try_collect()
        .await
        .map_err(|e| e.into_core(OPERATION))?;
    Ok(infos.into_iter().flatten().collect())
}

fn has_all(have: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| have.get(key) == Some(value))
}

/// `None`: gone since the list was made.
async fn describe(engine: &Engine, doc: json::Summary) -> Result<Option<ContainerInfo>, EngineError> {
    if let Some(info) = convert::summary(&doc)? {
        return Ok(Some(info));
    }
    let id: ContainerId = convert::id(&doc.id)?;
    match inspect(engine, &id).await {
        Ok(info) => Ok(Some(info)),
        Err(e) if e.is_gone() => Ok(None),
        // One that cannot be looked at must not hide the others, and is not gone.
        Err(e @ (EngineError::Status { .. } | EngineError::Decode { .. } | EngineError::Timeout { .. })) => {
            tracing::warn!(container = id.short(), error = %e, "a listed container cannot be inspected");
            convert::unknown(&doc).map(Some)
        }
        Err(e) => Err(e),
    }
}
