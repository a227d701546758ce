//! Whether the apiservers know the new certificate: asked where there is a way to ask, said where there is none.

use super::{
    super::{context::Context, failure::Failure},
    plan::Planned,
};
use crate::inventory::Inventory;
use serde::Serialize;

/// The flags of the probe.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Refuse (4) where the new certificate cannot be shown to every apiserver first; without it that is only said
    #[arg(long, conflicts_with = "no_probe")]
    probe: bool,
    /// Ask no apiserver
    #[arg(long)]
    no_probe: bool,
    #[cfg(feature = "k8s")]
    #[command(flatten)]
    cluster: super::super::cluster::ClusterArgs,
}

/// What the apiservers said.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answers {
    /// Why none was asked; null where they were.
    not_probed: Option<String>,
    #[cfg(feature = "k8s")]
    servers: Vec<crate::workflow::identity::Probe>,
}

impl Answers {
    /// Of nobody.
    fn none(why: String) -> Self {
        Self {
            not_probed: Some(why),
            #[cfg(feature = "k8s")]
            servers: Vec::new(),
        }
    }

    /// In a line for people.
    pub(super) fn text(&self) -> String {
        match &self.not_probed {
            Some(why) => format!("identity not probed: {why}\n"),
            None => self.told(),
        }
    }
}

impl Args {
    /// Shows the certificate that is planned, or one of them, to every apiserver.
    pub(super) fn ask(&self, context: &Context, inventory: &Inventory, planned: &Planned) -> Result<Answers, Failure> {
        match self.no_probe {
            true => Ok(Answers::none("--no-probe".to_owned())),
            false => self.ask_servers(context, inventory, planned),
        }
    }

    fn not_probed(&self, why: String) -> Result<Answers, Failure> {
        if self.probe {
            let what = format!("the new certificate cannot be shown to every apiserver: {why}");
            return Err(Failure::refused("not_probed", what).hint("mend that, or leave --probe out"));
        }
        Ok(Answers::none(why))
    }
}

#[cfg(not(feature = "k8s"))]
impl Answers {
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn told(&self) -> String {
        String::new()
    }
}

#[cfg(not(feature = "k8s"))]
impl Args {
    fn ask_servers(&self, _: &Context, _: &Inventory, _: &Planned) -> Result<Answers, Failure> {
        self.not_probed("this kubemint was built without the feature k8s".to_owned())
    }
}

#[cfg(feature = "k8s")]
mod with_api {
    use super::{Answers, Args, Context, Failure, Inventory, Planned};
    use crate::workflow::identity::{self, Probe, Verdict};

    impl Answers {
        pub(super) fn told(&self) -> String {
            let known = self.servers.iter().filter(|probe| probe.verdict == Verdict::Known).count();
            let unasked = self.servers.iter().filter(|probe| probe.verdict == Verdict::Unasked).count();
            let mut text = format!("identity: {known} of {} apiservers know it", self.servers.len());
            if unasked > 0 {
                text += &format!(", {unasked} could not be asked");
            }
            text.push('\n');
            for probe in self.servers.iter().filter(|probe| probe.verdict == Verdict::Unasked) {
                text += &format!("not probed on {}: {}\n", probe.host, probe.detail);
            }
            text
        }
    }

    impl Args {
        pub(super) fn ask_servers(
            &self,
            context: &Context,
            inventory: &Inventory,
            planned: &Planned,
        ) -> Result<Answers, Failure> {
            let access = match self.cluster.connect_to_show(context, inventory, &planned.snapshot) {
                Ok(access) => access,
                Err(failure) => return self.not_probed(failure.message),
            };
            let set = &planned.plan.set;
            let own = planned.sample().and_then(|node| set.node_clients.get(node));
            let (certificate, key) = match own {
                Some(pair) => (pair.certificate_pem.as_str(), &pair.key_pem),
                None => set.client_of(None),
            };
            let servers = identity::probe_identity(access.clusters.as_ref(), &inventory.hosts, certificate, key);
            let find = |verdict| servers.iter().find(|probe| probe.verdict == verdict);
            if let Some(Probe { host, detail, .. }) = find(Verdict::Refused) {
                let what = format!("the apiserver of {host} does not know the new certificate: {detail}");
                return Err(Failure::refused("identity_refused", what).hint(
                    "its --client-ca-file must hold the CA of the inventory; nothing was changed and no host was touched",
                ));
            }
            if servers.is_empty() {
                return self.not_probed("no host of the inventory is a control plane".to_owned());
            }
            match find(Verdict::Unasked).map(|probe| format!("{}: {}", probe.host, probe.detail)) {
                Some(why) if self.probe => self.not_probed(why),
                _ => Ok(Answers { not_probed: None, servers }),
            }
        }
    }
}
