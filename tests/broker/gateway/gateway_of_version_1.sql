-- A gateway's database of version 1, with two rounds and their events: what sqlite3's .dump gives.
BEGIN TRANSACTION;
CREATE TABLE answers (
	token VARCHAR NOT NULL,
	"key" BLOB NOT NULL,
	asked BLOB NOT NULL,
	sealed BLOB NOT NULL,
	at FLOAT NOT NULL,
	PRIMARY KEY (token, "key")
);
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	at FLOAT NOT NULL,
	token VARCHAR NOT NULL,
	method VARCHAR NOT NULL,
	path VARCHAR NOT NULL,
	status INTEGER NOT NULL
);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	kind VARCHAR NOT NULL,
	round INTEGER,
	FOREIGN KEY(round) REFERENCES rounds (number)
);
INSERT INTO "events" VALUES(1,'round',1);
INSERT INTO "events" VALUES(2,'round',2);
CREATE TABLE rosters (
	"group" VARCHAR NOT NULL,
	epoch INTEGER NOT NULL,
	protocol VARCHAR NOT NULL,
	slots VARCHAR NOT NULL,
	members VARCHAR NOT NULL,
	PRIMARY KEY ("group", epoch)
);
INSERT INTO "rosters" VALUES('street',1,'private-sum','[["load", 0, 1000], ["power", 0, 9000]]','["attic", "cellar", "garage", "kitchen"]');
CREATE TABLE rounds (
	number INTEGER NOT NULL,
	"group" VARCHAR NOT NULL,
	epoch INTEGER NOT NULL,
	round INTEGER NOT NULL,
	status VARCHAR NOT NULL,
	sums VARCHAR,
	missing VARCHAR NOT NULL,
	instant INTEGER,
	opened FLOAT,
	closed FLOAT NOT NULL,
	at FLOAT NOT NULL,
	total VARCHAR,
	mean_power VARCHAR,
	PRIMARY KEY (number),
	UNIQUE ("group", epoch, round)
);
INSERT INTO "rounds" VALUES(1,'street',1,0,'complete','[600, 2400]','[]',1800000000,NULL,1800000005.5,1800000000.0,'{"load": 600}',NULL);
INSERT INTO "rounds" VALUES(2,'street',1,1,'incomplete',NULL,'[]',1800000900,NULL,1800000905.5,1800000900.0,NULL,NULL);
CREATE TABLE standings (
	"group" VARCHAR NOT NULL,
	standing VARCHAR NOT NULL,
	PRIMARY KEY ("group")
);
INSERT INTO "standings" VALUES('street','{"epoch": 1, "instant": null, "mean_power": {}, "round": 1, "rounds": 1, "since": 1800000005.5, "summed": [], "totals": {"load": 600}, "unseen": 0}');
CREATE TABLE tokens (
	id VARCHAR NOT NULL,
	digest BLOB NOT NULL,
	scopes VARCHAR NOT NULL,
	note VARCHAR NOT NULL,
	made FLOAT NOT NULL,
	expires FLOAT,
	revoked FLOAT,
	PRIMARY KEY (id)
);
CREATE INDEX rounds_by_time ON rounds ("group", at);
CREATE INDEX rounds_by_instant ON rounds (instant);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',2);
COMMIT;
PRAGMA user_version=1;
