//! The manifests in `contrib/` for several machines: they are valid, and pouch fetches mail with
//! the command line, the environment and the volumes that they describe. These tests need root.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::{Path, PathBuf},
};

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    lmtp_server::Lmtp,
    server::{Server, corpus},
    support::{
        Home,
        run::{Child, Run},
    },
};

/// The user and the group of the image.
const ID: u32 = 10001;

/// The user that owns the directories of Nomad's tasks.
const NOBODY: u32 = 65534;

/// The number of shards in all manifests.
const SHARDS: u32 = 16;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a program in a read-only system with the given mounts, as a container does, in which it is
/// the first process:
/// `sh -c CONTAINER sh ROOT USER MOUNTS COMMAND...`. Each line of MOUNTS is an option of mount(8),
/// a source and a target.
const CONTAINER: &str = r#"
    set -e
    root=$1 user=$2 mounts=$3
    shift 3
    mount --make-rprivate /
    mkdir -p "$root/system" "$root/usr/bin"
    touch "$root/usr/bin/pouch"
    mount -t tmpfs tmpfs "$root/system"
    cd "$root/system"
    mkdir usr proc dev etc
    ln -s usr/bin usr/lib usr/lib64 .
    mount -t overlay -o "ro,lowerdir=$root/usr:/usr" overlay usr
    mount --bind "$POUCH" usr/bin/pouch
    mount --rbind /proc proc
    mount --rbind /dev dev
    printf '%s\n' "$mounts" | while read -r option source target; do
        mkdir -p "./$target"
        mount --bind "$source" "./$target"
        mount -o "remount,bind,$option" "./$target"
    done
    mount -o remount,ro "$root/system"
    cd /
    exec chroot "$root/system" setpriv --reuid "$user" --regid "$user" --clear-groups \
        --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"#;

/// A container as a scheduler starts it.
struct Container<'a> {
    home: &'a Home,
    /// The name of its directory.
    name: String,
    mounts: Vec<Mount>,
    env: Vec<(String, String)>,
    args: Vec<String>,
}

struct Mount {
    source: PathBuf,
    target: String,
    is_read_only: bool,
}

impl Container<'_> {
    fn mount(&mut self, source: &Path, target: &str, is_read_only: bool) {
        let source = source.to_owned();
        self.mounts.push(Mount {
            source,
            target: target.to_owned(),
            is_read_only,
        });
    }

    fn run(&self, args: &[&str]) -> Run {
        let mounts = self.mounts.iter().map(|mount| {
            let option = if mount.is_read_only { "ro" } else { "rw" };
            format!("{option} {} {}", mount.source.display(), mount.target)
        });
        let mounts = mounts.collect::<Vec<_>>().join("\n");
        let root = self.home.make_dir(&self.name, 0o755).display().to_string();
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let env: Vec<_> = env.collect();
        let id = ID.to_string();
        let container = ["sh", "-c", CONTAINER, "sh", &root, &id, &mounts];
        let mut all = vec!["--mount", "--pid", "--fork", "--kill-child", "--"];
        all.extend(container);
        all.extend(["env", "-i"]);
        all.extend(env.iter().map(String::as_str));
        all.push("/usr/bin/pouch");
        all.extend(args);
        let run = self.home.system_command("unshare", &all);
        run.env("POUCH", env!("CARGO_BIN_EXE_pouch"))
    }

    fn start(&self) -> Child {
        let mut args: Vec<_> = self.args.iter().map(String::as_str).collect();
        args.push("-v");
        self.run(&args).spawn()
    }
}

/// Sends SIGTERM to the first process of a container, as all schedulers do.
fn terminate(container: &Child) {
    let pid = container.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let first = Pid::from_raw(children.trim().parse().unwrap());
    kill_process(first.unwrap(), Signal::TERM).unwrap();
}

/// The mail servers, and the passwords of their users, `NAME@example.org`.
struct Servers {
    pop3: Server,
    lmtp: Lmtp,
    lmtp_port: u16,
}

impl Servers {
    fn new(password: &str) -> Self {
        let pop3 = Server::plain()
            .user("ann@example.org", password)
            .message("uid-1", corpus::message(1))
            .another_user("ben@example.org", password)
            .message("uid-2", corpus::message(2))
            .start();
        let (lmtp, lmtp_port) = Lmtp::on_port();
        Self {
            pop3,
            lmtp,
            lmtp_port,
        }
    }

    /// Returns a config of a manifest with the addresses of these servers.
    fn adapt(&self, config: &str, lmtp: &str) -> String {
        let host = "host = \"pop.example.org\"\n";
        assert_eq!(config.matches(host).count(), 2);
        assert_eq!(config.matches(lmtp).count(), 1);
        let here = format!(
            "host = \"127.0.0.1\"\nport = {}\ntls = \"off\"\nauth = \"user\"\n\
             allow-plaintext-password = true\n",
            self.pop3.port()
        );
        let config = config.replace(host, &here);
        config.replace(lmtp, &format!("127.0.0.1:{}", self.lmtp_port))
    }

    /// Asserts that each user got the message once.
    #[track_caller]
    fn assert_delivered(&self) {
        let messages = [1, 2].map(|number| corpus::on_disk(&corpus::message(number)));
        self.lmtp.assert_exactly(&[
            ("ann@example.org", &messages[0]),
            ("ben@example.org", &messages[1]),
        ]);
        let sent = self.pop3.log().count("RETR");
        assert_eq!(sent, 2);
    }
}

/// Returns the content of a manifest.
fn manifest(path: &str) -> String {
    format!("{ROOT}/contrib/{path}")
}

/// Validates a manifest, and returns it.
#[track_caller]
fn valid(home: &Home, kind: &str, path: &str) -> Value {
    let program = format!("{ROOT}/tests/servers/manifests");
    let output = home
        .system_command(&program, &[kind, &manifest(path)])
        .run();
    output.assert_code(0);
    serde_json::from_str(&output.stdout_text()).unwrap()
}

/// Returns the shards, each with the name of its account, and one shard without accounts.
#[track_caller]
fn shards(home: &Home, config: &str) -> Vec<(u32, Option<String>)> {
    home.config(config);
    let mut found = Vec::new();
    let mut has_empty = false;
    for shard in 1..=SHARDS {
        let shard_option = format!("{shard}/{SHARDS}");
        let output = home
            .pouch(&["status", "--json", "--shard", &shard_option])
            .run();
        let document: Value = serde_json::from_str(&output.stdout_text()).unwrap();
        let accounts = document["accounts"].as_array().unwrap();
        assert!(
            accounts.len() < 2,
            "the accounts have to be in different shards"
        );
        let account = accounts.first().map(|it| text(&it["account"]).to_owned());
        if account.is_some() || !has_empty {
            has_empty |= account.is_none();
            found.push((shard, account));
        }
    }
    assert_eq!(found.len(), 3);
    found
}

#[track_caller]
fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}

#[track_caller]
fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is not a list"))
}

#[track_caller]
fn named<'a>(values: &'a Value, name: &str) -> &'a Value {
    let mut values = list(values).iter();
    values
        .find(|value| value["name"] == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

/// Makes the group of the image the group of all files in a directory.
fn give_to_group(dir: &Path) {
    for entry in walk(dir) {
        std::os::unix::fs::lchown(entry, None, Some(ID)).unwrap();
    }
}

fn walk(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            all.extend(walk(&entry.unwrap().path()));
        }
    }
    all
}

/// Creates the volume of a `ConfigMap` or a Secret as Kubernetes does: the files belong to root and
/// the group of the pod, and are reached through two symbolic links, so that all can be replaced at
/// once. Everyone can write to the directory, but the mount is read-only.
fn projected(home: &Home, name: &str, files: &Value, mode: u32) -> PathBuf {
    let volume = home.make_dir(name, 0o777);
    home.make_dir(format!("{name}/..2026"), 0o755);
    symlink("..2026", volume.join("..data")).unwrap();
    for (file, content) in files.as_object().unwrap() {
        home.write(format!("{name}/..2026/{file}"), text(content), mode);
        symlink(format!("..data/{file}"), volume.join(file)).unwrap();
    }
    give_to_group(&volume);
    volume
}

/// The documents of `kubernetes/pouch.yaml`.
struct Kubernetes {
    documents: Value,
}

impl Kubernetes {
    #[track_caller]
    fn document(&self, kind: &str) -> &Value {
        let mut documents = list(&self.documents).iter();
        documents.find(|document| document["kind"] == kind).unwrap()
    }

    fn pod(&self) -> &Value {
        &self.document("StatefulSet")["spec"]["template"]["spec"]
    }

    /// Returns the pod of a shard.
    fn start<'a>(&self, home: &'a Home, shard: u32, config: &str) -> Container<'a> {
        let pouch = named(&self.pod()["containers"], "pouch");
        let mut env = Vec::new();
        for variable in list(&pouch["env"]) {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some(path) => {
                    assert_eq!(path, "metadata.labels['apps.kubernetes.io/pod-index']");
                    shard.to_string()
                }
                None => text(&variable["value"]).to_owned(),
            };
            env.push((text(&variable["name"]).to_owned(), value));
        }
        let args = list(&pouch["args"]).iter().map(|argument| {
            let argument = text(argument).to_owned();
            let expand = |argument: String, (name, value): &(String, String)| {
                argument.replace(&format!("$({name})"), value)
            };
            env.iter().fold(argument, expand)
        });
        let mut container = Container {
            home,
            name: format!("pod-{shard}"),
            mounts: Vec::new(),
            args: args.collect(),
            env,
        };
        for mount in list(&pouch["volumeMounts"]) {
            let source = self.volume(home, shard, text(&mount["name"]), config);
            let is_read_only = mount["readOnly"] == true;
            container.mount(&source, text(&mount["mountPath"]), is_read_only);
        }
        container
    }

    /// Creates a volume of the pod of a shard.
    #[track_caller]
    fn volume(&self, home: &Home, shard: u32, name: &str, config: &str) -> PathBuf {
        let path = format!("{name}-{shard}");
        let stateful_set = &self.document("StatefulSet")["spec"];
        let claims = list(&stateful_set["volumeClaimTemplates"]);
        if claims.iter().any(|claim| claim["metadata"]["name"] == name) {
            // with fsGroup, Kubernetes changes the root of the volume at the first mount
            let volume = home.make_dir(path, 0o2775);
            chown(&volume, None, Some(ID)).unwrap();
            return volume;
        }
        let volume = named(&self.pod()["volumes"], name);
        if let Some(map) = volume["configMap"]["name"].as_str() {
            let document = self.document("ConfigMap");
            assert_eq!(document["metadata"]["name"], map);
            let mut data = document["data"].clone();
            data["config.toml"] = config.into();
            projected(home, &path, &data, 0o644)
        } else if let Some(secret) = volume["secret"]["secretName"].as_str() {
            let document = self.document("Secret");
            assert_eq!(document["metadata"]["name"], secret);
            // fsGroup lets the group read the files
            assert_eq!(volume["secret"]["defaultMode"], 0o400);
            projected(home, &path, &document["stringData"], 0o440)
        } else {
            assert!(volume["emptyDir"].is_object(), "{name}");
            let volume = home.make_dir(path, 0o2777);
            chown(&volume, None, Some(ID)).unwrap();
            volume
        }
    }
}

#[test]
fn kubernetes_manifest_is_consistent() {
    let home = Home::new();
    let documents = valid(&home, "kubernetes", "kubernetes/pouch.yaml");
    let kubernetes = Kubernetes { documents };
    let stateful_set = &kubernetes.document("StatefulSet")["spec"];
    assert_eq!(stateful_set["replicas"], SHARDS);
    // shards are numbered from 1
    assert_eq!(stateful_set["ordinals"]["start"], 1);
    let service = kubernetes.document("Service");
    assert_eq!(stateful_set["serviceName"], service["metadata"]["name"]);
    let labels = &stateful_set["template"]["metadata"]["labels"];
    assert_eq!(&stateful_set["selector"]["matchLabels"], labels);
    assert_eq!(&service["spec"]["selector"], labels);
    let pod = kubernetes.pod();
    let user = &pod["securityContext"];
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(user[key], ID);
    }
    let image = fs::read_to_string(manifest("kubernetes/Containerfile")).unwrap();
    assert!(image.contains(&format!("\nUSER {ID}:{ID}\n")));
    assert!(image.contains("\nENTRYPOINT [\"/usr/bin/pouch\"]\n"));
    for container in list(&pod["containers"]) {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"][0], "ALL");
    }
    let pouch = named(&pod["containers"], "pouch");
    let shard = format!("$(SHARD)/{SHARDS}");
    assert!(list(&pouch["args"]).contains(&shard.into()));
    // the config before the tests replace its servers
    let config = text(&kubernetes.document("ConfigMap")["data"]["config.toml"]);
    home.config(config);
    home.pouch(&["config", "show"]).run().assert_code(0);
}

/// Starts the shards, waits until the mail has arrived, stops them, and starts them again.
fn fetch(servers: &Servers, containers: &[(Container<'_>, Option<String>)]) {
    let quits = |count: usize| move |log: &crate::server::Log| log.count("QUIT") == count;
    for round in 1..=2 {
        let mut running: Vec<_> = containers
            .iter()
            .map(|(container, _)| container.start())
            .collect();
        servers.pop3.wait_for(quits(2 * round));
        for (pouch, (_, account)) in running.iter_mut().zip(containers) {
            if account.is_none() {
                pouch.wait_for("no account is in shard");
            }
            terminate(pouch);
        }
        for pouch in running {
            pouch.wait().assert_code(143);
        }
        servers.assert_delivered();
    }
}

#[test]
fn kubernetes_pods_fetch_their_shards() {
    let home = Home::new();
    home.make_dir("", 0o755);
    let documents = valid(&home, "kubernetes", "kubernetes/pouch.yaml");
    let kubernetes = Kubernetes { documents };
    let password = text(&kubernetes.document("Secret")["stringData"]["ann"]);
    let servers = Servers::new(password);
    let config = text(&kubernetes.document("ConfigMap")["data"]["config.toml"]);
    let config = servers.adapt(config, "dovecot-lmtp:24");
    let pods: Vec<_> = shards(&home, &config.replace("/metrics/", "~/"))
        .into_iter()
        .map(|(shard, account)| (kubernetes.start(&home, shard, &config), account))
        .collect();
    fetch(&servers, &pods);
    for (pod, account) in &pods {
        // metrics are written at the end of a round
        let args = pod.args.iter().map(String::as_str);
        let once: Vec<_> = args.filter(|it| !["--every", "8m"].contains(it)).collect();
        pod.run(&once).run().assert_code(0).assert_silent();
        let metrics = pod.mounts.iter().find(|mount| mount.target == "/metrics");
        let metrics = fs::read_to_string(metrics.unwrap().source.join("pouch.prom")).unwrap();
        let accounts = metrics.matches("pouch_account_runs_total{").count();
        assert_eq!(accounts, usize::from(account.is_some()));
    }
}

#[test]
fn nomad_allocations_fetch_their_shards() {
    let home = Home::new();
    home.make_dir("", 0o755);
    let job = valid(&home, "nomad", "nomad/pouch.nomad.hcl");
    let group = &job["job"]["pouch"]["group"]["shard"];
    assert_eq!(group["count"], SHARDS);
    assert_eq!(group["volume"]["state"]["per_alloc"], true);
    // Nomad refuses per_alloc with canaries
    assert_eq!(group["update"]["canary"], 0);
    let owner = &group["task"]["owner"];
    let chown = format!("{ID}:{ID}");
    assert_eq!(owner["config"]["entrypoint"][1], chown);
    let task = &group["task"]["pouch"];
    assert_eq!(task["user"], chown);
    let servers = Servers::new("change-me");
    let config = template(task, "${NOMAD_TASK_DIR}/pouch/config.toml");
    home.config(&config);
    home.pouch(&["config", "show"]).run().assert_code(0);
    let config = servers.adapt(&config, "lmtp.example.org:24");
    let allocations: Vec<_> = shards(&home, &config)
        .into_iter()
        .map(|(shard, account)| (allocation(&home, task, shard - 1, &config), account))
        .collect();
    fetch(&servers, &allocations);
}

/// Returns the template of a task with this destination.
#[track_caller]
fn template(task: &Value, destination: &str) -> String {
    let mut templates = list(&task["template"]).iter();
    let found = templates.find(|template| template["destination"] == destination);
    text(&found.unwrap_or_else(|| panic!("{destination}"))["data"]).to_owned()
}

/// Returns the allocation with this index.
fn allocation<'a>(home: &'a Home, task: &Value, index: u32, config: &str) -> Container<'a> {
    let dir = format!("allocation-{index}");
    let shard = template(task, "${NOMAD_TASK_DIR}/shard.env");
    assert_eq!(
        shard,
        "SHARD={{ add 1 (env \"NOMAD_ALLOC_INDEX\" | parseInt) }}"
    );
    let shard = (index + 1).to_string();
    let expand = |text: &str| {
        text.replace("${SHARD}", &shard)
            .replace("${NOMAD_TASK_DIR}", "/local")
            .replace("${NOMAD_SECRETS_DIR}", "/secrets")
    };
    let env = task["env"].as_object().unwrap().iter();
    let args = list(&task["config"]["args"]).iter();
    let mut container = Container {
        home,
        name: dir.clone(),
        mounts: Vec::new(),
        env: env
            .map(|(name, value)| (name.clone(), expand(text(value))))
            .collect(),
        args: args.map(|argument| expand(text(argument))).collect(),
    };
    // as Nomad creates them, with directories of root for templates
    let (local, secrets) = (format!("{dir}/local"), format!("{dir}/secrets"));
    for path in [&local, &secrets] {
        let path = home.make_dir(path, 0o777);
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    home.make_dir(format!("{local}/pouch"), 0o755);
    home.write(format!("{local}/pouch/config.toml"), config, 0o644);
    for name in ["ann", "ben"] {
        let destination = format!("${{NOMAD_SECRETS_DIR}}/passwords/{name}");
        let variable =
            format!("{{{{ with nomadVar \"nomad/jobs/pouch\" }}}}{{{{ .{name} }}}}{{{{ end }}}}");
        assert_eq!(template(task, &destination), variable);
        let path = home.write(
            format!("{dir}/secrets/passwords/{name}"),
            "change-me",
            0o400,
        );
        chown(&path, Some(ID), None).unwrap();
    }
    let volume = home.make_dir(format!("{dir}/volume"), 0o755);
    chown(&volume, Some(ID), Some(ID)).unwrap();
    container.mount(&home.join(local), "/local", false);
    container.mount(&home.join(secrets), "/secrets", false);
    container.mount(&volume, text(&task["volume_mount"]["destination"]), false);
    container
}

/// Returns the values of a key in the unit of a shard.
fn unit(key: &str) -> Vec<String> {
    let unit = fs::read_to_string(manifest("systemd/pouch-shard@.service")).unwrap();
    let unit = unit.replace("\\\n", "");
    let key = format!("{key}=");
    let values = unit.lines().filter_map(|line| line.strip_prefix(&key));
    values.map(str::to_owned).collect()
}

#[test]
fn systemd_accepts_the_unit() {
    let home = Home::new();
    let unit = fs::read_to_string(manifest("systemd/pouch-shard@.service")).unwrap();
    let unit = unit.replace("/usr/bin/pouch", env!("CARGO_BIN_EXE_pouch"));
    home.write("pouch-shard@.service", unit, 0o644);
    symlink("pouch-shard@.service", home.join("pouch-shard@3.service")).unwrap();
    let verify = ["verify", "--man=no", "./pouch-shard@3.service"];
    let output = home.system_command("systemd-analyze", &verify).run();
    output.assert_code(0).assert_silent();
}

#[test]
fn systemd_instances_fetch_their_shards() {
    let home = Home::new();
    home.make_dir("", 0o755);
    let servers = Servers::new("secret");
    let accounts = ["ann", "ben"].map(|name| {
        format!(
            "[account.{name}]\nhost = \"pop.example.org\"\nuser = \"{name}@example.org\"\n\
             password-credential = \"accounts_{name}\"\n"
        )
    });
    let config = format!("[defaults]\nlmtp = \"lmtp:24\"\n{}", accounts.concat());
    let config = servers.adapt(&config, "lmtp:24");
    assert_eq!(unit("StateDirectory"), ["pouch/%i"]);
    assert_eq!(unit("EnvironmentFile"), ["/etc/pouch/shards"]);
    let instances: Vec<_> = shards(&home, &config)
        .into_iter()
        .map(|(shard, account)| (instance(&home, shard, &config), account))
        .collect();
    fetch(&servers, &instances);
}

/// Returns the instance of the unit for a shard.
fn instance<'a>(home: &'a Home, shard: u32, config: &str) -> Container<'a> {
    let dir = format!("instance-{shard}");
    let expand = |text: &str| {
        text.replace("%i", &shard.to_string())
            .replace("${SHARDS}", &SHARDS.to_string())
    };
    let command = expand(&unit("ExecStart")[0]);
    let args = command.strip_prefix("/usr/bin/pouch ").unwrap();
    let environment = unit("Environment");
    let env = environment.iter().map(|line| line.split_once('=').unwrap());
    let mut container = Container {
        home,
        name: dir.clone(),
        mounts: Vec::new(),
        env: env
            .chain([
                ("CREDENTIALS_DIRECTORY", "/run/credentials/pouch"),
                ("HOME", "/var/lib/pouch"),
            ])
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        args: args.split_whitespace().map(str::to_owned).collect(),
    };
    home.write(format!("{dir}/etc/config.toml"), config, 0o644);
    let credentials = home.make_dir(format!("{dir}/credentials"), 0o500);
    for name in ["ann", "ben"] {
        let name = format!("{dir}/credentials/accounts_{name}");
        let path = home.write(name, "secret\n", 0o400);
        chown(&path, Some(ID), None).unwrap();
    }
    chown(&credentials, Some(ID), None).unwrap();
    let state = home.make_dir(format!("{dir}/state"), 0o700);
    chown(&state, Some(ID), Some(ID)).unwrap();
    container.mount(&home.join(format!("{dir}/etc")), "/etc/pouch", true);
    container.mount(&credentials, "/run/credentials/pouch", true);
    let target = format!("/var/lib/{}", expand(&unit("StateDirectory")[0]));
    container.mount(&state, &target, false);
    container
}

/// Runs `contrib/reshard`.
fn reshard(home: &Home, old: u32, new: u32) -> Run {
    let place = format!("POUCH_STATE_DIR={}/shard-{{}}", home.path().display());
    let counts = [old, new].map(|count| count.to_string());
    let args = [&counts[0], &counts[1], "env", &place];
    let bin = Path::new(env!("CARGO_BIN_EXE_pouch")).parent().unwrap();
    let mut path = bin.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let script = manifest("reshard/pouch-reshard");
    home.system_command(&script, &args).env("PATH", path)
}

#[test]
fn ledgers_move_to_their_new_shards_and_back() {
    const ACCOUNTS: usize = 12;
    let server = (0..ACCOUNTS).fold(Server::plain(), |setup, account| {
        let user = format!("user{account}");
        let setup = match account {
            0 => setup.user(&user, "secret"),
            _ => setup.another_user(&user, "secret"),
        };
        let uid = format!("uid-of-{account}");
        setup.message(uid.as_str(), corpus::message(account))
    });
    let server = server.start();
    let home = Home::new();
    home.write("password", "secret\n", 0o600);
    let accounts = (0..ACCOUNTS).map(|account| {
        format!("[account.a{account}]\nuser = \"user{account}\"\nmaildir = \"~/Mail/a{account}\"\n")
    });
    home.config(&format!(
        "[defaults]\nhost = \"127.0.0.1\"\nport = {}\npassword-file = \"~/password\"\ntls = \"off\"\n\
         allow-plaintext-password = true\nauth = \"user\"\n{}",
        server.port(),
        accounts.collect::<String>()
    ));
    let fetch = |count: u32, place: u32| {
        let (state, shard) = (format!("shard-{place}"), format!("{place}/{count}"));
        let args = ["fetch", "--state-dir", &state, "--shard", &shard];
        home.pouch(&args).run()
    };
    let fetch_all = |count| {
        for place in 1..=count {
            fetch(count, place).assert_code(0).assert_silent();
        }
        assert_eq!(server.log().count("RETR"), ACCOUNTS);
    };
    fetch_all(4);
    let moved = reshard(&home, 4, 6).run();
    assert_snapshot!(moved.assert_code(0).stdout, @"
    shard 2 to shard 5: 1
    shard 4 to shard 5: 1
    shard 4 to shard 6: 1
    ");
    // repeated, as after a failure
    reshard(&home, 4, 6).run().assert_code(0);
    fetch_all(6);
    // a machine that still has the old number of shards
    fetch(4, 2).assert_code(65);
    // the script fails after a ledger was exported, and is repeated
    let obstacle = home.write("shard-2.from-5", "", 0o600);
    reshard(&home, 6, 4).run().assert_code(1);
    fs::remove_file(obstacle).unwrap();
    reshard(&home, 6, 4).run().assert_code(0);
    fetch_all(4);
    reshard(&home, 4, 5).run().assert_code(0);
    fetch_all(5);
}

/// Both units have the same restrictions.
#[test]
fn systemd_unit_has_the_restrictions_of_the_system_unit() {
    let restrictions = |unit: &str| -> Vec<String> {
        let lines = unit.lines().skip_while(|line| *line != "UMask=0077");
        let lines = lines.take_while(|line| *line != "[Install]");
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    let system = fs::read_to_string(format!("{ROOT}/systemd/pouch-system.service")).unwrap();
    let shard = fs::read_to_string(manifest("systemd/pouch-shard@.service")).unwrap();
    assert_eq!(restrictions(&shard), restrictions(&system));
}
