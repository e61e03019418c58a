//! Three replicas, and the death of their leader.

use crate::relay::Relay;
use crate::rings::{Reader, Ring, Writer};
use crate::server::{Server, client, free_port};
use crate::until;

fn cluster() -> [Server; 3] {
    let routes = [free_port(), free_port(), free_port()];
    let urls: Vec<_> = routes
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .collect();
    let urls = urls.join(", ");
    let mut number = 0;
    routes.map(|port| {
        number += 1;
        Server::prepared(&format!(
            "server_name: s{number}\n\
             jetstream {{ store_dir: STORE }}\n\
             cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{urls}] }}\n"
        ))
    })
}

/// The number of the stream's leader, once all three servers have all of the stream.
fn leader(servers: &[Server]) -> Option<usize> {
    servers.iter().find_map(|server| {
        if !server.is_up() {
            return None;
        }
        client(&server.url(), async |client| {
            let context = async_nats::jetstream::new(client);
            let stream = context.get_stream("three").await.ok()?;
            let cluster = stream.cached_info().cluster.as_ref()?;
            if cluster.replicas.len() < 2 || !cluster.replicas.iter().all(|peer| peer.current) {
                return None;
            }
            let name = cluster.leader.clone()?;
            name.strip_prefix('s')?.parse::<usize>().ok()
        })
    })
}

#[test]
fn a_leader_that_is_killed_loses_nothing() {
    let mut servers = cluster();
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    let urls = urls.join(",");
    let (source, destination) = (Ring::new(), Ring::new());
    let more = ["--replicas", "3", "--max-bytes", "50000000"];
    let mut sender = Relay::send(&source.path(), "three", &urls, &more);
    let mut receiver = Relay::recv(&destination.path(), "three", &urls, &[]);
    let writer = Writer::start(&source, 0, 29, 1 << 18);
    let reader = Reader::start(&destination, 0, &writer.ends);
    for round in 0..3 {
        let before = reader.position();
        until(&format!("bytes in round {round}"), || {
            sender.assert_runs();
            receiver.assert_runs();
            reader.position() > before + 500_000 || reader.fails()
        });
        let mut found = None;
        until("a leader", || {
            found = leader(&servers);
            found.is_some()
        });
        let victim = &mut servers[found.unwrap() - 1];
        victim.kill();
        let before = reader.position();
        until(&format!("bytes from two servers in round {round}"), || {
            reader.position() > before + 500_000 || reader.fails()
        });
        victim.start();
    }
    let last = writer.stop();
    reader.finish(last);
}
