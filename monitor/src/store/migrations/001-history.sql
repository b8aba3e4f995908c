-- Times are whole milliseconds since 1970, UTC. What has not ended has until = 9223372036854775807, so that "at that time" is one comparison.

CREATE TABLE watched_group (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    coverage INTEGER REFERENCES coverage        -- of its last complete scan
) STRICT;

-- What a scan was about, as in the records of scans. Scans of a group mostly share one.
CREATE TABLE coverage (
    id INTEGER PRIMARY KEY,
    spans TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE scan (
    id INTEGER PRIMARY KEY,
    watched_group INTEGER NOT NULL REFERENCES watched_group,
    purpose TEXT NOT NULL,                      -- regular, confirmation
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    outcome TEXT NOT NULL,                      -- complete, stopped, failed, skipped
    coverage INTEGER REFERENCES coverage,
    probes INTEGER NOT NULL,
    hosts_up INTEGER NOT NULL,
    open_ports INTEGER NOT NULL,
    error TEXT
) STRICT;
CREATE INDEX scan_by_group ON scan (watched_group, ended);

CREATE TABLE host (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE reason (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Neighbouring ports of a host that had the same state for the same reason in the same interval of time.
CREATE TABLE run (
    host INTEGER NOT NULL REFERENCES host,
    protocol INTEGER NOT NULL,                  -- 6 TCP, 17 UDP
    first INTEGER NOT NULL,
    since INTEGER NOT NULL,
    last INTEGER NOT NULL,
    until INTEGER NOT NULL,
    state INTEGER NOT NULL,                     -- 0 open, 1 closed, 2 filtered
    reason INTEGER NOT NULL REFERENCES reason,
    ttl INTEGER,
    rtt_us INTEGER,
    PRIMARY KEY (host, protocol, first, since)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_now ON run (host) WHERE until = 9223372036854775807;

-- Whether a host answers anything.
CREATE TABLE presence (
    host INTEGER NOT NULL REFERENCES host,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    up INTEGER NOT NULL,
    PRIMARY KEY (host, since)
) STRICT, WITHOUT ROWID;

-- What happened, in the order in which it became known: only ever appended to, and read by number.
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    watched_group TEXT,
    host TEXT,
    port INTEGER,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_time ON event (at);
CREATE INDEX event_by_host ON event (host, at);

CREATE TABLE incident (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cause TEXT NOT NULL,
    is_open INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    resolved INTEGER,
    body TEXT NOT NULL
) STRICT;
-- There is one open incident a cause, whatever else goes wrong.
CREATE UNIQUE INDEX incident_open ON incident (cause) WHERE is_open = 1;
CREATE INDEX incident_by_time ON incident (opened);

-- What whoever decides must remember over restarts: a JSON text by name.
CREATE TABLE memory (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What people have said of incidents by a command, until the service passes it on.
CREATE TABLE said (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL REFERENCES incident,
    occasion TEXT NOT NULL
) STRICT;
