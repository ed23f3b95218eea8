# pouch in Nomad 1.8 or newer: 16 shards, each an allocation with its own volume.
#
#     nomad var put nomad/jobs/pouch ann=… ben=…
#     nomad job run pouch.nomad.hcl
#
# Change the accounts, the passwords, the LMTP server and the image first. The image is built from
# contrib/kubernetes/Containerfile. The number of shards is set in two places, `count` and
# `--shard`. docs/scale.md explains how to change it, and what to do if a volume is lost.

job "pouch" {
  type = "service"

  group "shard" {
    count = 16

    # Create the volumes pouch[0] to pouch[15] first. For host volumes, use type = "host" without
    # access_mode and attachment_mode, and make UID 10001 the owner of their directories.
    volume "state" {
      type            = "csi"
      source          = "pouch"
      per_alloc       = true
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
    }

    # The shards of a client that lost its connection to the servers may still be running, so they
    # are not started on another client. If the client does not return, turn it off, then run
    # `nomad alloc stop`.
    disconnect {
      lost_after = "8760h"
      replace    = false
    }

    # A shard that fails is restarted on the same client, where its volume is.
    restart {
      attempts = 10
      interval = "10m"
      delay    = "30s"
      mode     = "delay"
    }

    # One shard at a time. No canaries: each would be a second process for the same mailboxes.
    update {
      max_parallel = 1
      canary       = 0
    }

    # A new CSI volume belongs to root, so this task changes its owner.
    task "owner" {
      driver = "docker"
      user   = "root"

      lifecycle {
        hook    = "prestart"
        sidecar = false
      }

      config {
        image      = "registry.example.org/pouch:0.1.0"
        entrypoint = ["/bin/chown", "10001:10001", "/var/lib/pouch"]
      }

      volume_mount {
        volume      = "state"
        destination = "/var/lib/pouch"
      }
    }

    task "pouch" {
      driver = "docker"
      user   = "10001:10001"
      # After SIGTERM, pouch exits within a second, or within 30 if it is renewing an OAuth token.
      kill_timeout = "30s"

      config {
        image           = "registry.example.org/pouch:0.1.0"
        args            = ["fetch", "--shard", "${SHARD}/16", "--every", "8m", "--log", "plain"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      env {
        POUCH_CONFIG          = "${NOMAD_TASK_DIR}/pouch/config.toml"
        POUCH_STATE_DIR       = "/var/lib/pouch/state"
        CREDENTIALS_DIRECTORY = "${NOMAD_SECRETS_DIR}/passwords"
        HOME                  = "/var/lib/pouch"
      }

      # Allocations are numbered from 0, shards from 1.
      template {
        data        = "SHARD={{ add 1 (env \"NOMAD_ALLOC_INDEX\" | parseInt) }}"
        destination = "${NOMAD_TASK_DIR}/shard.env"
        env         = true
      }

      # In a subdirectory, because NOMAD_TASK_DIR itself is writable by others, which pouch refuses.
      template {
        data        = <<-END
          jobs = 64
          # A round takes 7 minutes, and the next one begins 8 minutes later (--every): each
          # account is polled every 15 minutes.
          spread = "7m"

          [defaults]
          jobs-per-host = 2
          lmtp = "lmtp.example.org:24"

          [account.ann]
          host = "pop.example.org"
          user = "ann@example.org"
          password-credential = "ann"

          [account.ben]
          host = "pop.example.org"
          user = "ben@example.org"
          password-credential = "ben"
        END
        destination = "${NOMAD_TASK_DIR}/pouch/config.toml"
      }

      # A password for each `password-credential`. pouch reads them again in each round.
      template {
        data        = "{{ with nomadVar \"nomad/jobs/pouch\" }}{{ .ann }}{{ end }}"
        destination = "${NOMAD_SECRETS_DIR}/passwords/ann"
        perms       = "400"
        uid         = 10001
        change_mode = "noop"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/pouch\" }}{{ .ben }}{{ end }}"
        destination = "${NOMAD_SECRETS_DIR}/passwords/ben"
        perms       = "400"
        uid         = 10001
        change_mode = "noop"
      }

      volume_mount {
        volume      = "state"
        destination = "/var/lib/pouch"
      }

      resources {
        cpu    = 200
        memory = 512
      }
    }
  }
}
