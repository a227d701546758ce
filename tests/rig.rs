//! The stand-in cluster, judged by real tools: what rotation tests run against must behave as the real one does.
#![allow(clippy::unwrap_used)]

mod support;

use support::{ControlPlane, Fault};

#[test]
fn three_and_six_come_up_and_join() {
    need_root!();
    let began = std::time::Instant::now();
    let cluster = ControlPlane::builder().control_planes(3).nodes(6).start();
    eprintln!("up after {:?}", began.elapsed());
    let prober = cluster.probe();
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    let report = prober.stop();
    eprintln!("{report:?} {:?}", cluster.kubectl(&["get", "csr,nodes"]));
    assert_eq!(
        cluster.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).expect(0).stdout,
        "kubernetes-admin"
    );
    let _ = Fault::Hang;
}
