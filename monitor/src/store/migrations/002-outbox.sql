-- What is to be told, and what became of it. A message is the JSON that was made when it happened.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    thread TEXT NOT NULL,
    message TEXT NOT NULL,
    state TEXT NOT NULL,                        -- pending, sent, dead
    made INTEGER NOT NULL,
    due INTEGER NOT NULL,
    ended INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,        -- in a row, since it was made or replayed
    failed_over INTEGER NOT NULL DEFAULT 0,
    stands_in_for INTEGER REFERENCES delivery ON DELETE SET NULL
) STRICT;
CREATE INDEX delivery_pending ON delivery (channel, thread, id) WHERE state = 'pending';
CREATE INDEX delivery_by_time ON delivery (made);

CREATE TABLE attempt (
    delivery INTEGER NOT NULL REFERENCES delivery ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    result TEXT NOT NULL,                       -- accepted, later, never, gone
    answer TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- Channels whose other end said that it is gone.
CREATE TABLE disabled_channel (
    channel TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What channels that forget are told again and again.
CREATE TABLE standing (
    channel TEXT NOT NULL,
    incident INTEGER NOT NULL,
    message TEXT NOT NULL,
    due INTEGER NOT NULL,
    until INTEGER,                              -- of those that are over
    PRIMARY KEY (channel, incident)
) STRICT, WITHOUT ROWID;

-- Who has been told of what: that it is over goes to the same, in the same thread.
CREATE TABLE told (
    channel TEXT NOT NULL,
    incident INTEGER NOT NULL,
    thread TEXT NOT NULL,
    at INTEGER NOT NULL,
    is_over INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, incident)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_by_thread ON told (channel, thread);

-- What is told when a quiet window ends.
CREATE TABLE waiting (
    channel TEXT NOT NULL,
    incident INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (channel, incident)
) STRICT, WITHOUT ROWID;
