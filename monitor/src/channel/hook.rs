//! An address that is a secret: whoever knows it can write to a chat. What the settings of such channels have in common.

use std::path::PathBuf;

use serde::Deserialize;

use super::http::{self, Address, Client, Way};
use super::secret::{Environment, Place};

/// Where the address is, and the way there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Hook {
    url: Option<String>,
    url_file: Option<PathBuf>,
    url_env: Option<String>,
    ca_file: Option<PathBuf>,
    proxy: Option<String>,
}

impl Hook {
    pub(super) fn address(&self, environment: &Environment<'_>) -> Result<Address, String> {
        http::address(None, self.place(), environment)
    }

    pub(super) fn client(&self) -> Result<Client, String> {
        Client::new(&Way { ca_file: self.ca_file.clone(), proxy: self.proxy.clone(), patience: None })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        http::check_secret_address(self.url.as_ref(), self.place())
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.place().warning().into_iter().collect()
    }

    fn place(&self) -> Place<'_> {
        Place::new("url", self.url_file.as_ref(), self.url_env.as_ref())
    }
}
