//! Containers for tests of the fake engine.

use std::time::Duration;

use runner_core::container::UserSpec;
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec};
use runner_testkit::fake_runtime::FakeRuntime;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const USER: UserSpec = UserSpec { uid: 10001, gid: 10001 };

pub(crate) fn spec(name: &str) -> ContainerSpec {
    let mut spec = ContainerSpec::new(name, "img".parse().unwrap(), USER);
    spec.ports.push(4096);
    spec
}

pub(crate) async fn started(engine: &FakeRuntime, name: &str) -> ContainerId {
    let id = engine.create(&spec(name)).await.unwrap();
    engine.start(&id).await.unwrap();
    id
}
