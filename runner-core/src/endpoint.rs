//! Where an agent's server answers, and with which credentials.

use crate::secret::Secret;

/// The address of one agent server. Nothing may assume that it is on this host.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Base URL without a path, for instance `http://127.0.0.1:32779`. Valid for one start of the container: the
    /// engine chooses a new port each time.
    pub base_url: String,
    /// Who we are to the server.
    pub credentials: Credentials,
    /// The directory, as the server sees it, that the agent works in.
    pub directory: String,
}

/// User and password for the server's basic authentication.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password, made for one container.
    pub password: Secret,
}
