BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE nas_architectures (
	hash TEXT NOT NULL, 
	layout TEXT NOT NULL, 
	parameters BIGINT NOT NULL, 
	json TEXT NOT NULL, 
	PRIMARY KEY (hash)
);
INSERT INTO "nas_architectures" VALUES('275223524ee892ea','ccaccaccacacacac',354483968,'{"embedding_width":1024,"layers":[{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"head_dim":64,"heads":16,"kind":"attention","kv_heads":8}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"head_dim":64,"heads":16,"kind":"attention","kv_heads":8}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"head_dim":64,"heads":16,"kind":"attention","kv_heads":8}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"head_dim":64,"heads":16,"kind":"attention","kv_heads":8}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"head_dim":64,"heads":16,"kind":"attention","kv_heads":8}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":4608,"mixer":{"head_dim":64,"heads":16,"kind":"attention","kv_heads":8}},{"feed_forward_width":4608,"mixer":{"kernel":3,"kind":"short_conv"}}],"vocab_size":65536,"width":1024}');
INSERT INTO "nas_architectures" VALUES('28450b725d691801','--l-',4725832,'{"embedding_width":512,"layers":[{"feed_forward_width":512,"mixer":null},{"feed_forward_width":512,"mixer":null},{"feed_forward_width":512,"mixer":{"heads":8,"key_dim":32,"kind":"linear_attention","value_dim":64}},{"feed_forward_width":512,"mixer":null}],"vocab_size":1024,"width":512}');
INSERT INTO "nas_architectures" VALUES('06e0b61aa9df7e5a','-c-l',3149380,'{"embedding_width":256,"layers":[{"feed_forward_width":768,"mixer":null},{"feed_forward_width":768,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":768,"mixer":null},{"feed_forward_width":768,"mixer":{"heads":4,"key_dim":32,"kind":"linear_attention","value_dim":64}}],"vocab_size":1024,"width":256}');
INSERT INTO "nas_architectures" VALUES('8a1e3d80730e8760','-c--',3672320,'{"embedding_width":256,"layers":[{"feed_forward_width":768,"mixer":null},{"feed_forward_width":768,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":768,"mixer":null},{"feed_forward_width":768,"mixer":null}],"vocab_size":4096,"width":256}');
INSERT INTO "nas_architectures" VALUES('2e6cb10dbbabf465','ac',5771392,'{"embedding_width":512,"layers":[{"feed_forward_width":512,"mixer":{"head_dim":64,"heads":8,"kind":"attention","kv_heads":8}},{"feed_forward_width":512,"mixer":{"kernel":3,"kind":"short_conv"}}],"vocab_size":4096,"width":512}');
INSERT INTO "nas_architectures" VALUES('c8e26e42f63056ad','-l',1706052,'{"embedding_width":256,"layers":[{"feed_forward_width":256,"mixer":null},{"feed_forward_width":256,"mixer":{"heads":4,"key_dim":32,"kind":"linear_attention","value_dim":64}}],"vocab_size":4096,"width":256}');
INSERT INTO "nas_architectures" VALUES('ca361ff918ada239','ssc-',3410944,'{"embedding_width":256,"layers":[{"feed_forward_width":512,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4,"rope_base":10000.0,"window":512}},{"feed_forward_width":512,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4,"rope_base":10000.0,"window":512}},{"feed_forward_width":512,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":512,"mixer":null}],"vocab_size":4096,"width":256}');
INSERT INTO "nas_architectures" VALUES('aa9242615c91622e','cs',8917120,'{"embedding_width":512,"layers":[{"feed_forward_width":1536,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":1536,"mixer":{"head_dim":64,"heads":8,"kind":"attention","kv_heads":8,"rope_base":10000.0,"window":512}}],"vocab_size":4096,"width":512}');
INSERT INTO "nas_architectures" VALUES('8c04b17be0ae3db6','sa--',2361344,'{"embedding_width":256,"layers":[{"feed_forward_width":256,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4,"rope_base":10000.0,"window":512}},{"feed_forward_width":256,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4}},{"feed_forward_width":256,"mixer":null},{"feed_forward_width":256,"mixer":null}],"vocab_size":4096,"width":256}');
INSERT INTO "nas_architectures" VALUES('984536bbfe809791','-c-a',2361984,'{"embedding_width":256,"layers":[{"feed_forward_width":256,"mixer":null},{"feed_forward_width":256,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":256,"mixer":null},{"feed_forward_width":256,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4}}],"vocab_size":4096,"width":256}');
INSERT INTO "nas_architectures" VALUES('c75d82e55f302932','-csl',1839044,'{"embedding_width":256,"layers":[{"feed_forward_width":256,"mixer":null},{"feed_forward_width":256,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":256,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4,"rope_base":10000.0,"window":512}},{"feed_forward_width":256,"mixer":{"heads":4,"key_dim":32,"kind":"linear_attention","value_dim":64}}],"vocab_size":1024,"width":256}');
INSERT INTO "nas_architectures" VALUES('e4d6b758c7d1453b','as-a',4196736,'{"embedding_width":256,"layers":[{"feed_forward_width":768,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4}},{"feed_forward_width":768,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4,"rope_base":10000.0,"window":512}},{"feed_forward_width":768,"mixer":null},{"feed_forward_width":768,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4}}],"vocab_size":4096,"width":256}');
INSERT INTO "nas_architectures" VALUES('70a726e40621105d','cl',7348296,'{"embedding_width":512,"layers":[{"feed_forward_width":1024,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":1024,"mixer":{"heads":8,"key_dim":32,"kind":"linear_attention","value_dim":64}}],"vocab_size":4096,"width":512}');
INSERT INTO "nas_architectures" VALUES('7dad65312c4581fd','sa',1967616,'{"embedding_width":256,"layers":[{"feed_forward_width":256,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4,"rope_base":10000.0,"window":512}},{"feed_forward_width":256,"mixer":{"head_dim":64,"heads":4,"kind":"attention","kv_heads":4}}],"vocab_size":4096,"width":256}');
INSERT INTO "nas_architectures" VALUES('1ea5f4083c74f939','-l',7870536,'{"embedding_width":512,"layers":[{"feed_forward_width":1536,"mixer":null},{"feed_forward_width":1536,"mixer":{"heads":8,"key_dim":32,"kind":"linear_attention","value_dim":64}}],"vocab_size":4096,"width":512}');
INSERT INTO "nas_architectures" VALUES('470466e15dfd36b6','al',7346888,'{"embedding_width":512,"layers":[{"feed_forward_width":1536,"mixer":{"head_dim":64,"heads":8,"kind":"attention","kv_heads":8}},{"feed_forward_width":1536,"mixer":{"heads":8,"key_dim":32,"kind":"linear_attention","value_dim":64}}],"vocab_size":1024,"width":512}');
INSERT INTO "nas_architectures" VALUES('f78c638b3f2a08b8','-a',6293632,'{"embedding_width":512,"layers":[{"feed_forward_width":1024,"mixer":null},{"feed_forward_width":1024,"mixer":{"head_dim":64,"heads":8,"kind":"attention","kv_heads":8}}],"vocab_size":4096,"width":512}');
INSERT INTO "nas_architectures" VALUES('32531f6cba4e6485','ccaccaca',19870080,'{"embedding_width":384,"layers":[{"feed_forward_width":1024,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":1024,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":1024,"mixer":{"head_dim":64,"heads":6,"kind":"attention","kv_heads":2}},{"feed_forward_width":1024,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":1024,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":1024,"mixer":{"head_dim":64,"heads":6,"kind":"attention","kv_heads":2}},{"feed_forward_width":1024,"mixer":{"kernel":3,"kind":"short_conv"}},{"feed_forward_width":1024,"mixer":{"head_dim":64,"heads":6,"kind":"attention","kv_heads":2}}],"vocab_size":16384,"width":384}');
CREATE TABLE nas_calibrations (
	id INTEGER NOT NULL, 
	device TEXT NOT NULL, 
	reference TEXT NOT NULL, 
	workload TEXT NOT NULL, 
	timings TEXT NOT NULL, 
	milliseconds DOUBLE NOT NULL, 
	low DOUBLE NOT NULL, 
	high DOUBLE NOT NULL, 
	repeats INTEGER NOT NULL, 
	variance DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (device, reference, workload)
);
INSERT INTO "nas_calibrations" VALUES(1,'int4 board','a1b2','tg64@512','[{"at": 0.0, "milliseconds": 26.0, "error": 0.5, "governor": null}, {"at": 0.0, "milliseconds": 10.0, "error": 0.005, "governor": null}]',1.00615056264744069376e+01,8.66393733364953355646e+00,1.16845138154909893306e+01,1,0.0001);
CREATE TABLE nas_environments (
	hash TEXT NOT NULL, 
	json TEXT NOT NULL, 
	PRIMARY KEY (hash)
);
INSERT INTO "nas_environments" VALUES('7bde735f0d5d5d5e','{"clock_mhz": 2000.5, "cores": 2, "cpu": "one", "governor": null, "host": "fake", "load_1min": 0.25, "memory_bytes": 8589934592, "python": "3.11", "runtime_version": "1", "system": "Fake 1", "temperature_c": null}');
INSERT INTO "nas_environments" VALUES('d92dcbd4dc2b1d5b','{"clock_mhz": 2000.5, "cores": 2, "cpu": "one", "governor": null, "host": "fake", "load_1min": 1.5, "memory_bytes": 8589934592, "python": "3.11", "runtime_version": "1", "system": "Fake 1", "temperature_c": null}');
CREATE TABLE nas_evaluations (
	fingerprint TEXT NOT NULL, 
	architecture TEXT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	curve TEXT NOT NULL, 
	evaluated_at DATETIME NOT NULL, 
	PRIMARY KEY (fingerprint, architecture), 
	FOREIGN KEY(architecture) REFERENCES nas_architectures (hash)
);
INSERT INTO "nas_evaluations" VALUES('fake-costs','275223524ee892ea',0.001,'[]','2026-11-28 07:47:13.500000');
INSERT INTO "nas_evaluations" VALUES('fake-latency','275223524ee892ea',2.0,'[]','2026-11-28 07:47:13.521676');
INSERT INTO "nas_evaluations" VALUES('fake-training','275223524ee892ea',30.0,'[[5000, 2.2762997703999996], [10000, 2.2137997703999996], [15000, 2.1512997703999996], [20000, 2.0887997703999996], [25000, 2.0262997703999996], [30000, 1.9637997703999996], [35000, 1.9012997703999996], [40000, 1.8387997703999996]]','2026-11-28 07:47:13.537793');
INSERT INTO "nas_evaluations" VALUES('fake-costs','28450b725d691801',0.001,'[]','2026-11-28 07:47:13.637053');
INSERT INTO "nas_evaluations" VALUES('fake-latency','28450b725d691801',2.0,'[]','2026-11-28 07:47:13.646094');
INSERT INTO "nas_evaluations" VALUES('fake-training','28450b725d691801',30.0,'[[5000, 3.3509451261], [10000, 3.2884451261], [15000, 3.2259451261], [20000, 3.1634451261], [25000, 3.1009451261], [30000, 3.0384451261], [35000, 2.9759451261], [40000, 2.9134451261]]','2026-11-28 07:47:13.666872');
INSERT INTO "nas_evaluations" VALUES('fake-costs','06e0b61aa9df7e5a',0.001,'[]','2026-11-28 07:47:13.813454');
INSERT INTO "nas_evaluations" VALUES('fake-latency','06e0b61aa9df7e5a',2.0,'[]','2026-11-28 07:47:13.825313');
INSERT INTO "nas_evaluations" VALUES('fake-training','06e0b61aa9df7e5a',30.0,'[[5000, 3.1545120512000002], [10000, 3.0920120512000002], [15000, 3.0295120512000002], [20000, 2.9670120512000002], [25000, 2.9045120512000002], [30000, 2.8420120512000002], [35000, 2.7795120512000002], [40000, 2.7170120512000002]]','2026-11-28 07:47:13.844754');
INSERT INTO "nas_evaluations" VALUES('fake-costs','8a1e3d80730e8760',0.001,'[]','2026-11-28 07:47:13.977177');
INSERT INTO "nas_evaluations" VALUES('fake-costs','2e6cb10dbbabf465',0.001,'[]','2026-11-28 07:47:14.105290');
INSERT INTO "nas_evaluations" VALUES('fake-latency','2e6cb10dbbabf465',2.0,'[]','2026-11-28 07:47:14.117246');
INSERT INTO "nas_evaluations" VALUES('fake-costs','c8e26e42f63056ad',0.001,'[]','2026-11-28 07:47:14.273114');
INSERT INTO "nas_evaluations" VALUES('fake-latency','c8e26e42f63056ad',2.0,'[]','2026-11-28 07:47:14.285114');
INSERT INTO "nas_evaluations" VALUES('fake-training','c8e26e42f63056ad',30.0,'[[5000, 3.3708649105000004], [10000, 3.3083649105000004], [15000, 3.2458649105000004], [20000, 3.1833649105000004], [25000, 3.1208649105000004], [30000, 3.0583649105000004], [35000, 2.9958649105000004], [40000, 2.9333649105000004]]','2026-11-28 07:47:14.302837');
INSERT INTO "nas_evaluations" VALUES('fake-costs','ca361ff918ada239',0.001,'[]','2026-11-28 07:47:14.533323');
INSERT INTO "nas_evaluations" VALUES('fake-latency','ca361ff918ada239',2.0,'[]','2026-11-28 07:47:14.557408');
INSERT INTO "nas_evaluations" VALUES('fake-costs','aa9242615c91622e',0.001,'[]','2026-11-28 07:47:14.785325');
INSERT INTO "nas_evaluations" VALUES('fake-costs','8c04b17be0ae3db6',0.001,'[]','2026-11-28 07:47:15.081273');
INSERT INTO "nas_evaluations" VALUES('fake-latency','8c04b17be0ae3db6',2.0,'[]','2026-11-28 07:47:15.109359');
INSERT INTO "nas_evaluations" VALUES('fake-training','8c04b17be0ae3db6',30.0,'[[5000, 3.127587756], [10000, 3.065087756], [15000, 3.002587756], [20000, 2.940087756], [25000, 2.877587756], [30000, 2.815087756], [35000, 2.752587756], [40000, 2.690087756]]','2026-11-28 07:47:15.139014');
INSERT INTO "nas_evaluations" VALUES('fake-costs','984536bbfe809791',0.001,'[]','2026-11-28 07:47:15.341329');
INSERT INTO "nas_evaluations" VALUES('fake-costs','c75d82e55f302932',0.001,'[]','2026-11-28 07:47:15.541470');
INSERT INTO "nas_evaluations" VALUES('fake-latency','c75d82e55f302932',2.0,'[]','2026-11-28 07:47:15.569450');
INSERT INTO "nas_evaluations" VALUES('fake-costs','e4d6b758c7d1453b',0.001,'[]','2026-11-28 07:47:15.793417');
INSERT INTO "nas_evaluations" VALUES('fake-latency','e4d6b758c7d1453b',2.0,'[]','2026-11-28 07:47:15.821361');
INSERT INTO "nas_evaluations" VALUES('fake-costs','70a726e40621105d',0.001,'[]','2026-11-28 07:47:16.029368');
INSERT INTO "nas_evaluations" VALUES('fake-latency','70a726e40621105d',2.0,'[]','2026-11-28 07:47:16.057242');
INSERT INTO "nas_evaluations" VALUES('fake-costs','7dad65312c4581fd',0.001,'[]','2026-11-28 07:47:16.265492');
INSERT INTO "nas_evaluations" VALUES('fake-costs','1ea5f4083c74f939',0.001,'[]','2026-11-28 07:47:16.449231');
INSERT INTO "nas_evaluations" VALUES('fake-latency','1ea5f4083c74f939',2.0,'[]','2026-11-28 07:47:16.461136');
INSERT INTO "nas_evaluations" VALUES('fake-training','1ea5f4083c74f939',30.0,'[[5000, 3.1116735013000003], [10000, 3.0491735013000003], [15000, 2.9866735013000003], [20000, 2.9241735013000003], [25000, 2.8616735013000003], [30000, 2.7991735013000003], [35000, 2.7366735013000003], [40000, 2.6741735013000003]]','2026-11-28 07:47:16.479578');
INSERT INTO "nas_evaluations" VALUES('fake-costs','470466e15dfd36b6',0.001,'[]','2026-11-28 07:47:16.613342');
INSERT INTO "nas_evaluations" VALUES('fake-latency','470466e15dfd36b6',2.0,'[]','2026-11-28 07:47:16.625221');
INSERT INTO "nas_evaluations" VALUES('fake-costs','f78c638b3f2a08b8',0.001,'[]','2026-11-28 07:47:16.761199');
INSERT INTO "nas_evaluations" VALUES('fake-latency','f78c638b3f2a08b8',2.0,'[]','2026-11-28 07:47:16.773115');
INSERT INTO "nas_evaluations" VALUES('fake-training for longer','1ea5f4083c74f939',30.0,'[[5000, 3.1116735013000003], [10000, 3.0491735013000003], [15000, 2.9866735013000003], [20000, 2.9241735013000003], [25000, 2.8616735013000003], [30000, 2.7991735013000003], [35000, 2.7366735013000003], [40000, 2.6741735013000003]]','2026-11-28 07:47:16.885880');
INSERT INTO "nas_evaluations" VALUES('timed','32531f6cba4e6485',2.0,'[]','2026-11-28 07:47:16.925686');
CREATE TABLE nas_measurements (
	fingerprint TEXT NOT NULL, 
	architecture TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	workload TEXT NOT NULL, 
	runtime TEXT NOT NULL, 
	threads INTEGER NOT NULL, 
	cores TEXT NOT NULL, 
	samples_ns TEXT NOT NULL, 
	warmup_ns TEXT NOT NULL, 
	load_ns BIGINT NOT NULL, 
	peak_memory_bytes BIGINT NOT NULL, 
	environment TEXT NOT NULL, 
	window INTEGER, 
	empty_memory_bytes BIGINT, 
	loaded_memory_bytes BIGINT, 
	model_bytes BIGINT, 
	environment_after TEXT, 
	disturbance TEXT, 
	waited_ns TEXT, 
	measured_at DOUBLE, 
	reference_of INTEGER, 
	PRIMARY KEY (fingerprint, architecture, position), 
	FOREIGN KEY(fingerprint, architecture) REFERENCES nas_evaluations (fingerprint, architecture), 
	FOREIGN KEY(environment) REFERENCES nas_environments (hash), 
	FOREIGN KEY(environment_after) REFERENCES nas_environments (hash)
);
INSERT INTO "nas_measurements" VALUES('fake-latency','275223524ee892ea',0,'tg8@64','fake',1,'[0]','[43448397, 43448407, 43448387]','[86896794]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','275223524ee892ea',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[86896794]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','28450b725d691801',0,'tg8@64','fake',1,'[0]','[772583, 772593, 772573]','[1545166]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','28450b725d691801',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[1545166]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','06e0b61aa9df7e5a',0,'tg8@64','fake',1,'[0]','[814938, 814948, 814928]','[1629876]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','06e0b61aa9df7e5a',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[1629876]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','2e6cb10dbbabf465',0,'tg8@64','fake',1,'[0]','[1777139, 1777149, 1777129]','[3554278]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','2e6cb10dbbabf465',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[3554278]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','c8e26e42f63056ad',0,'tg8@64','fake',1,'[0]','[470605, 470615, 470595]','[941210]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','c8e26e42f63056ad',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[941210]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','ca361ff918ada239',0,'tg8@64','fake',1,'[0]','[1741094, 1741104, 1741084]','[3482188]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','ca361ff918ada239',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[3482188]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','8c04b17be0ae3db6',0,'tg8@64','fake',1,'[0]','[1836134, 1836144, 1836124]','[3672268]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','8c04b17be0ae3db6',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[3672268]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','c75d82e55f302932',0,'tg8@64','fake',1,'[0]','[1283904, 1283914, 1283894]','[2567808]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','c75d82e55f302932',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[2567808]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','e4d6b758c7d1453b',0,'tg8@64','fake',1,'[0]','[3019674, 3019684, 3019664]','[6039348]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','e4d6b758c7d1453b',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[6039348]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','70a726e40621105d',0,'tg8@64','fake',1,'[0]','[1234830, 1234840, 1234820]','[2469660]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','70a726e40621105d',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[2469660]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','1ea5f4083c74f939',0,'tg8@64','fake',1,'[0]','[1087054, 1087064, 1087044]','[2174108]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','1ea5f4083c74f939',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[2174108]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','470466e15dfd36b6',0,'tg8@64','fake',1,'[0]','[2034689, 2034699, 2034679]','[4069378]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','470466e15dfd36b6',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[4069378]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
INSERT INTO "nas_measurements" VALUES('fake-latency','f78c638b3f2a08b8',0,'tg8@64','fake',1,'[0]','[1629363, 1629373, 1629353]','[3258726]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,NULL);
INSERT INTO "nas_measurements" VALUES('fake-latency','f78c638b3f2a08b8',1,'tg8@64','fake',1,'[0]','[7000000, 7100000, 6900000]','[3258726]',5000000000,3000000000,'7bde735f0d5d5d5e',1,20000000,2500000000,1500000000,'d92dcbd4dc2b1d5b','{"steal": 0.01, "beside": 0.02, "elsewhere": 0.5, "waited_s": 3.0, "reserved": true}',NULL,NULL,0);
CREATE TABLE nas_processes (
	token TEXT NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	started TEXT NOT NULL, 
	boot TEXT NOT NULL, 
	namespace TEXT NOT NULL, 
	lease_s DOUBLE NOT NULL, 
	beats INTEGER NOT NULL, 
	seen_at DATETIME NOT NULL, 
	oom_kills BIGINT, 
	group_oom_kills BIGINT, 
	oom_group TEXT, 
	PRIMARY KEY (token)
);
INSERT INTO "nas_processes" VALUES('789ee996db698912','host',31498,'5141565','boot','namespace',60.0,0,'2026-11-28 07:47:13.001',0,0,'43810');
CREATE TABLE nas_rejections (
	study INTEGER NOT NULL, 
	rule TEXT NOT NULL, 
	draws INTEGER NOT NULL, 
	PRIMARY KEY (study, rule), 
	FOREIGN KEY(study) REFERENCES nas_studies (id)
);
INSERT INTO "nas_rejections" VALUES(1,'parameters',2);
CREATE TABLE nas_repeats (
	trial INTEGER NOT NULL, 
	fingerprint TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	seed BIGINT, 
	token_budget BIGINT, 
	seconds DOUBLE, 
	failure TEXT, 
	reason TEXT, 
	process TEXT, 
	ended_at DATETIME, 
	PRIMARY KEY (trial, fingerprint), 
	FOREIGN KEY(trial) REFERENCES nas_trials (id), 
	FOREIGN KEY(process) REFERENCES nas_processes (token)
);
INSERT INTO "nas_repeats" VALUES(15,'fake-training for longer','training',1,160000,1.13447049952810630202e-02,NULL,NULL,'789ee996db698912','2026-11-28 07:47:16.896131');
INSERT INTO "nas_repeats" VALUES(3,'fake-training for longer','training',1,160000,7.84238000051118433475e-04,'diverged','requested by the test','789ee996db698912','2026-11-28 07:47:16.913482');
CREATE TABLE nas_scores (
	fingerprint TEXT NOT NULL, 
	architecture TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	value DOUBLE NOT NULL, 
	unit TEXT NOT NULL, 
	low DOUBLE, 
	high DOUBLE, 
	provisional BOOLEAN DEFAULT 0 NOT NULL, 
	calibration INTEGER, 
	ratio DOUBLE, 
	ratio_low DOUBLE, 
	ratio_high DOUBLE, 
	PRIMARY KEY (fingerprint, architecture, position), 
	FOREIGN KEY(fingerprint, architecture) REFERENCES nas_evaluations (fingerprint, architecture), 
	FOREIGN KEY(calibration) REFERENCES nas_calibrations (id)
);
INSERT INTO "nas_scores" VALUES('fake-costs','275223524ee892ea',0,'parameters',354483968.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','275223524ee892ea',1,'memory',177.241984,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','275223524ee892ea',0,'decode',43.4483968,'ms',4.25794288639999933803e+01,43.4483968,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-training','275223524ee892ea',0,'loss',1.83879977039999964461e+00,'bits/byte',1.82879977039999963572e+00,1.84879977039999965349e+00,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','28450b725d691801',0,'parameters',4725832.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','28450b725d691801',1,'memory',2.362916,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','28450b725d691801',0,'decode',7.72583199999999914453e-01,'ms',7.57131535999999938368e-01,7.72583199999999914453e-01,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-training','28450b725d691801',0,'loss',2.9134451261,'bits/byte',2.90344512610000027308e+00,2.9234451261,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','06e0b61aa9df7e5a',0,'parameters',3149380.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','06e0b61aa9df7e5a',1,'memory',1.57469,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','06e0b61aa9df7e5a',0,'decode',8.14937999999999940214e-01,'ms',0.79863924,8.14937999999999940214e-01,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-training','06e0b61aa9df7e5a',0,'loss',2.71701205120000022219e+00,'bits/byte',2.70701205120000043535e+00,2.7270120512,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','8a1e3d80730e8760',0,'parameters',3672320.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','8a1e3d80730e8760',1,'memory',1.83616,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','2e6cb10dbbabf465',0,'parameters',5771392.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','2e6cb10dbbabf465',1,'memory',2.885696,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','2e6cb10dbbabf465',0,'decode',1.7771392,'ms',1.741596416,1.7771392,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','c8e26e42f63056ad',0,'parameters',1706052.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','c8e26e42f63056ad',1,'memory',0.853026,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','c8e26e42f63056ad',0,'decode',0.4706052,'ms',4.6119309599999996907e-01,0.4706052,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-training','c8e26e42f63056ad',0,'loss',2.93336491050000036651e+00,'bits/byte',2.92336491050000057967e+00,2.9433649105,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','ca361ff918ada239',0,'parameters',3410944.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','ca361ff918ada239',1,'memory',1.705472,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','ca361ff918ada239',0,'decode',1.7410944,'ms',1.706272512,1.7410944,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','aa9242615c91622e',0,'parameters',8917120.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','aa9242615c91622e',1,'memory',4.45856,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','8c04b17be0ae3db6',0,'parameters',2361344.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','8c04b17be0ae3db6',1,'memory',1.180672,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','8c04b17be0ae3db6',0,'decode',1.83613440000000016638e+00,'ms',1.79941171200000016305e+00,1.83613440000000016638e+00,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-training','8c04b17be0ae3db6',0,'loss',2.690087756,'bits/byte',2.68008775600000026528e+00,2.700087756,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','984536bbfe809791',0,'parameters',2361984.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','984536bbfe809791',1,'memory',1.180992,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','c75d82e55f302932',0,'parameters',1839044.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','c75d82e55f302932',1,'memory',0.919522,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','c75d82e55f302932',0,'decode',1.28390440000000016773e+00,'ms',1.25822631200000012441e+00,1.28390440000000016773e+00,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','e4d6b758c7d1453b',0,'parameters',4196736.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','e4d6b758c7d1453b',1,'memory',2.098368,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','e4d6b758c7d1453b',0,'decode',3.0196736,'ms',2.959280128,3.0196736,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','70a726e40621105d',0,'parameters',7348296.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','70a726e40621105d',1,'memory',3.674148,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','70a726e40621105d',0,'decode',1.23482959999999986067e+00,'ms',1.210133008,1.23482959999999986067e+00,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','7dad65312c4581fd',0,'parameters',1967616.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','7dad65312c4581fd',1,'memory',0.983808,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','1ea5f4083c74f939',0,'parameters',7870536.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','1ea5f4083c74f939',1,'memory',3.935268,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','1ea5f4083c74f939',0,'decode',1.0870536,'ms',1.065312528,1.0870536,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-training','1ea5f4083c74f939',0,'loss',2.67417350130000031072e+00,'bits/byte',2.66417350130000052388e+00,2.6841735013,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','470466e15dfd36b6',0,'parameters',7346888.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','470466e15dfd36b6',1,'memory',3.673444,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','470466e15dfd36b6',0,'decode',2.0346888,'ms',1.993995024,2.0346888,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','f78c638b3f2a08b8',0,'parameters',6293632.0,'',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-costs','f78c638b3f2a08b8',1,'memory',3.146816,'MB',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-latency','f78c638b3f2a08b8',0,'decode',1.6293632,'ms',1.596775936,1.6293632,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('fake-training for longer','1ea5f4083c74f939',0,'loss',2.67417350130000031072e+00,'bits/byte',2.66417350130000052388e+00,2.6841735013,0,NULL,NULL,NULL,NULL);
INSERT INTO "nas_scores" VALUES('timed','32531f6cba4e6485',0,'decode',5.03075281323720346904e+00,'ms',4.32631738627617590253e+00,5.85918439839851412642e+00,1,1,0.5,4.90196078431372528338e-01,0.515);
INSERT INTO "nas_scores" VALUES('timed','32531f6cba4e6485',1,'memory',4.0,'MB',3.0,5.0,0,NULL,NULL,NULL,NULL);
CREATE TABLE nas_stages (
	trial INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	stage TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	PRIMARY KEY (trial, position), 
	FOREIGN KEY(trial) REFERENCES nas_trials (id)
);
INSERT INTO "nas_stages" VALUES(1,0,'costs','fake-costs',1.20199140001204796135e-02);
INSERT INTO "nas_stages" VALUES(1,1,'latency','fake-latency',7.99915199604583904147e-03);
INSERT INTO "nas_stages" VALUES(1,2,'training','fake-training',8.01655100076459348201e-03);
INSERT INTO "nas_stages" VALUES(2,0,'costs','fake-costs',4.02063299407018348574e-03);
INSERT INTO "nas_stages" VALUES(2,1,'latency','fake-latency',1.09187829948496073484e-02);
INSERT INTO "nas_stages" VALUES(2,2,'training','fake-training',7.9999919980764389038e-03);
INSERT INTO "nas_stages" VALUES(3,0,'costs','fake-costs',0.00377614200260723);
INSERT INTO "nas_stages" VALUES(3,1,'latency','fake-latency',7.99176799773704260587e-03);
INSERT INTO "nas_stages" VALUES(3,2,'training','fake-training',7.99445300071965903043e-03);
INSERT INTO "nas_stages" VALUES(4,0,'costs','fake-costs',3.96020899643190205097e-03);
INSERT INTO "nas_stages" VALUES(4,1,'latency','fake-latency',9.59322998824063688516e-04);
INSERT INTO "nas_stages" VALUES(5,0,'costs','fake-costs',3.98789800237864255905e-03);
INSERT INTO "nas_stages" VALUES(5,1,'latency','fake-latency',0.00798141400446184);
INSERT INTO "nas_stages" VALUES(5,2,'training','fake-training',7.30286100588273257017e-03);
INSERT INTO "nas_stages" VALUES(6,0,'costs','fake-costs',3.96146999992197379469e-03);
INSERT INTO "nas_stages" VALUES(6,1,'latency','fake-latency',8.03771799837704747915e-03);
INSERT INTO "nas_stages" VALUES(6,2,'training','fake-training',0.00801841000065906);
INSERT INTO "nas_stages" VALUES(7,0,'costs','fake-costs',7.96893100050510838627e-03);
INSERT INTO "nas_stages" VALUES(7,1,'latency','fake-latency',1.19422019997728057205e-02);
INSERT INTO "nas_stages" VALUES(7,2,'training','fake-training',4.05072199646383523941e-03);
INSERT INTO "nas_stages" VALUES(8,0,'costs','fake-costs',1.18323139977292157709e-02);
INSERT INTO "nas_stages" VALUES(9,0,'costs','fake-costs',1.19912139998632483184e-02);
INSERT INTO "nas_stages" VALUES(9,1,'latency','fake-latency',1.19779640008346177637e-02);
INSERT INTO "nas_stages" VALUES(9,2,'training','fake-training',1.20094910016632638871e-02);
INSERT INTO "nas_stages" VALUES(10,0,'costs','fake-costs',1.01094810015638358891e-02);
INSERT INTO "nas_stages" VALUES(10,1,'latency','fake-latency',1.00314200244611129164e-03);
INSERT INTO "nas_stages" VALUES(11,0,'costs','fake-costs',1.0568311001406982541e-02);
INSERT INTO "nas_stages" VALUES(11,1,'latency','fake-latency',1.19794420024845749139e-02);
INSERT INTO "nas_stages" VALUES(11,2,'training','fake-training',4.30842700006905943155e-03);
INSERT INTO "nas_stages" VALUES(12,0,'costs','fake-costs',1.20087659961427561938e-02);
INSERT INTO "nas_stages" VALUES(12,1,'latency','fake-latency',1.20350560027873143553e-02);
INSERT INTO "nas_stages" VALUES(13,0,'costs','fake-costs',1.18321990012191236019e-02);
INSERT INTO "nas_stages" VALUES(13,1,'latency','fake-latency',1.19780090026324614882e-02);
INSERT INTO "nas_stages" VALUES(13,2,'training','fake-training',2.23480600106995552778e-03);
INSERT INTO "nas_stages" VALUES(14,0,'costs','fake-costs',3.96750299842096865177e-03);
INSERT INTO "nas_stages" VALUES(14,1,'latency','fake-latency',9.70831999438814818859e-04);
INSERT INTO "nas_stages" VALUES(15,0,'costs','fake-costs',3.95873800152912735939e-03);
INSERT INTO "nas_stages" VALUES(15,1,'latency','fake-latency',8.01294200209667906165e-03);
INSERT INTO "nas_stages" VALUES(15,2,'training','fake-training',7.9977410059655085206e-03);
INSERT INTO "nas_stages" VALUES(16,0,'costs','fake-costs',3.94970100023783743381e-03);
INSERT INTO "nas_stages" VALUES(16,1,'latency','fake-latency',7.98088699957588687539e-03);
INSERT INTO "nas_stages" VALUES(16,2,'training','fake-training',3.51437900098972022533e-03);
INSERT INTO "nas_stages" VALUES(17,0,'costs','fake-costs',4.0165269965655170381e-03);
INSERT INTO "nas_stages" VALUES(17,1,'latency','fake-latency',0.00798504500562558);
INSERT INTO "nas_stages" VALUES(17,2,'training','fake-training',1.93203500384697690606e-03);
CREATE TABLE nas_studies (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "nas_studies" VALUES(1,'small','{"constraints": [{"max": 4.0, "name": "memory"}], "device": {"if_occupied": "measure", "llama_bench": null, "longest_wait": null, "precision": 0.05, "reference": "hybrid-20m", "runner": "local", "seconds": 20.0, "threads": 1}, "models": {}, "name": "small", "objectives": [{"max": null, "name": "loss"}, {"max": 2.95, "name": "decode"}], "proxy": {"batch_size": 4, "context_length": 256, "corpus": "python", "device": "cpu", "method": "scratch", "rung_margin": 0.01, "rungs": [0.25, 0.5], "shared_token_budget": 5000000, "task": null, "task_share": 0.25, "threads": 1, "token_budget": 40000, "width_share": 0.125}, "recall": {"length": 32, "pairs": 4, "token_budget": 200000, "vocabulary": 32}, "references": ["lfm2-350m"], "sampler": {"kind": "random", "start_from": [], "startup_trials": 10}, "seed": 0, "space": {"depth": [2, 4], "embedding_share": [1.0], "feed_forward": [1.0, 2.0, 3.0], "head_dim": [64], "kernel": [3], "kv_heads": [8], "matched": null, "mixers": ["c", "a", "s", "l", "-"], "rules": {"attention_layers": null, "first": null, "last": null, "longest_run_without_attention": null, "parameters": [1500000, 9000000], "weight_mb": null}, "vocab_size": [1024, 4096], "width": [256, 512], "window": [512]}, "starts": {}, "storage": "sqlite:///nas.db", "target": {"context_depth": 1024, "more_depths": [], "prompt_length": 512, "quantization": "int4"}, "trials": 16}','2026-11-28 07:47:12.940509');
CREATE TABLE nas_trials (
	id INTEGER NOT NULL, 
	study INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	reference TEXT, 
	architecture TEXT, 
	optuna_number INTEGER, 
	predicted_latency DOUBLE, 
	state TEXT NOT NULL, 
	stage TEXT, 
	failure TEXT, 
	reason TEXT, 
	duplicate_of INTEGER, 
	estimated_loss DOUBLE, 
	exceeded TEXT, 
	revision INTEGER DEFAULT '0' NOT NULL, 
	curve TEXT NOT NULL, 
	deaths INTEGER NOT NULL, 
	kills INTEGER DEFAULT '0' NOT NULL, 
	progress DOUBLE, 
	progress_text TEXT, 
	process TEXT, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	PRIMARY KEY (id), 
	UNIQUE (study, kind, number), 
	FOREIGN KEY(study) REFERENCES nas_studies (id), 
	FOREIGN KEY(architecture) REFERENCES nas_architectures (hash), 
	FOREIGN KEY(process) REFERENCES nas_processes (token)
);
INSERT INTO "nas_trials" VALUES(1,1,'reference',0,'lfm2-350m','275223524ee892ea',NULL,NULL,'complete',NULL,NULL,NULL,NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:13.468987','2026-11-28 07:47:13.548633');
INSERT INTO "nas_trials" VALUES(2,1,'candidate',0,NULL,'28450b725d691801',0,NULL,'complete',NULL,NULL,NULL,NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:13.559802','2026-11-28 07:47:13.676179');
INSERT INTO "nas_trials" VALUES(3,1,'candidate',1,NULL,'06e0b61aa9df7e5a',1,NULL,'complete',NULL,NULL,NULL,NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:13.743756','2026-11-28 07:47:13.852187');
INSERT INTO "nas_trials" VALUES(4,1,'candidate',2,NULL,'8a1e3d80730e8760',2,NULL,'failed','latency','diverged','requested by the test',NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:13.911988','2026-11-28 07:47:13.992198');
INSERT INTO "nas_trials" VALUES(5,1,'candidate',3,NULL,'2e6cb10dbbabf465',3,NULL,'stopped','training',NULL,'at 25 % of its training, the loss was 3.159 bits/byte; trial 1, which is at least as good in all other objectives, had 3.092',NULL,2.78364806410000031888e+00,NULL,0,'[[5000, 3.2211480641], [10000, 3.1586480641]]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:14.039528','2026-11-28 07:47:14.146407');
INSERT INTO "nas_trials" VALUES(6,1,'candidate',4,NULL,'c8e26e42f63056ad',4,NULL,'complete',NULL,NULL,NULL,NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:14.204177','2026-11-28 07:47:14.312188');
INSERT INTO "nas_trials" VALUES(7,1,'candidate',5,NULL,'ca361ff918ada239',6,NULL,'stopped','training',NULL,'at 25 % of its training, the loss was 3.13 bits/byte; trial 1, which is at least as good in all other objectives, had 3.092',NULL,2.75500639409999958928e+00,NULL,0,'[[5000, 3.1925063941], [10000, 3.1300063941]]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:14.363504','2026-11-28 07:47:14.596166');
INSERT INTO "nas_trials" VALUES(8,1,'candidate',6,NULL,'aa9242615c91622e',7,NULL,'infeasible','costs',NULL,'memory: 4.459 MB is above the limit of 4 MB',NULL,NULL,'{"memory": 4.45856}',0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:14.671613','2026-11-28 07:47:14.804276');
INSERT INTO "nas_trials" VALUES(9,1,'candidate',7,NULL,'8c04b17be0ae3db6',8,NULL,'complete',NULL,NULL,NULL,NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:14.875797','2026-11-28 07:47:15.152282');
INSERT INTO "nas_trials" VALUES(10,1,'candidate',8,NULL,'984536bbfe809791',9,NULL,'failed','latency','diverged','requested by the test',NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:15.228377','2026-11-28 07:47:15.376123');
INSERT INTO "nas_trials" VALUES(11,1,'candidate',9,NULL,'c75d82e55f302932',10,NULL,'stopped','training',NULL,'at 25 % of its training, the loss was 3.121 bits/byte; trial 1, which is at least as good in all other objectives, had 3.092',NULL,2.746455856,NULL,0,'[[5000, 3.1839558560000003], [10000, 3.1214558560000003]]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:15.435579','2026-11-28 07:47:15.608258');
INSERT INTO "nas_trials" VALUES(12,1,'candidate',10,NULL,'e4d6b758c7d1453b',11,NULL,'infeasible','latency',NULL,'decode: 3.02 (2.959 to 3.02) ms is above the limit of 2.95 ms',NULL,NULL,'{"decode": 2.959280128}',0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:15.691732','2026-11-28 07:47:15.840328');
INSERT INTO "nas_trials" VALUES(13,1,'candidate',11,NULL,'70a726e40621105d',12,NULL,'stopped','training',NULL,'at 25 % of its training, the loss was 3.237 bits/byte; trial 1, which is at least as good in all other objectives, had 3.092',NULL,2.8622258729,NULL,0,'[[5000, 3.2997258729], [10000, 3.2372258729]]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:15.919682','2026-11-28 07:47:16.096185');
INSERT INTO "nas_trials" VALUES(14,1,'candidate',12,NULL,'7dad65312c4581fd',13,NULL,'failed','latency','diverged','requested by the test',NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:16.175813','2026-11-28 07:47:16.280120');
INSERT INTO "nas_trials" VALUES(15,1,'candidate',13,NULL,'1ea5f4083c74f939',15,NULL,'complete',NULL,NULL,NULL,NULL,NULL,NULL,0,'[]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:16.319086','2026-11-28 07:47:16.488183');
INSERT INTO "nas_trials" VALUES(16,1,'candidate',14,NULL,'470466e15dfd36b6',16,NULL,'stopped','training',NULL,'at 25 % of its training, the loss was 3.217 bits/byte; trial 13, which is at least as good in all other objectives, had 3.049',NULL,2.84197112080000025002e+00,NULL,0,'[[5000, 3.2794711208000003], [10000, 3.2169711208000003]]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:16.539735','2026-11-28 07:47:16.648161');
INSERT INTO "nas_trials" VALUES(17,1,'candidate',15,NULL,'f78c638b3f2a08b8',17,NULL,'stopped','training',NULL,'at 25 % of its training, the loss was 3.296 bits/byte; trial 13, which is at least as good in all other objectives, had 3.049',NULL,2.92062210559999968495e+00,NULL,0,'[[5000, 3.3581221055999997], [10000, 3.2956221055999997]]',0,0,NULL,NULL,'789ee996db698912','2026-11-28 07:47:16.695536','2026-11-28 07:47:16.796099');
CREATE TABLE nas_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "nas_version" VALUES(7);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'small');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',1,1);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["loss", "decode"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(2,1,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(3,1,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(4,1,'vocab_size',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(5,1,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(6,1,'mixer_01',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(7,1,'mixer_02',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(8,1,'mixer_03',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(9,2,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(10,2,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(11,2,'feed_forward',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(12,2,'vocab_size',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(13,2,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(14,2,'mixer_01',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(15,2,'mixer_02',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(16,2,'mixer_03',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(17,3,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(18,3,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(19,3,'feed_forward',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(20,3,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(21,3,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(22,3,'mixer_01',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(23,3,'mixer_02',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(24,3,'mixer_03',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(25,4,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(26,4,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(27,4,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(28,4,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(29,4,'mixer_00',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(30,4,'mixer_01',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(31,4,'mixer_02',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(32,4,'mixer_03',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(33,5,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(34,5,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(35,5,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(36,5,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(37,5,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(38,5,'mixer_01',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(39,5,'mixer_02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(40,5,'mixer_03',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(41,6,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(42,6,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(43,6,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(44,6,'vocab_size',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(45,6,'mixer_00',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(46,6,'mixer_01',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(47,6,'mixer_02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(48,6,'mixer_03',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(49,7,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(50,7,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(51,7,'feed_forward',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(52,7,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(53,7,'mixer_00',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(54,7,'mixer_01',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(55,7,'mixer_02',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(56,7,'mixer_03',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(57,8,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(58,8,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(59,8,'feed_forward',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(60,8,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(61,8,'mixer_00',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(62,8,'mixer_01',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(63,8,'mixer_02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(64,8,'mixer_03',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(65,9,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(66,9,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(67,9,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(68,9,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(69,9,'mixer_00',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(70,9,'mixer_01',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(71,9,'mixer_02',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(72,9,'mixer_03',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(73,10,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(74,10,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(75,10,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(76,10,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(77,10,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(78,10,'mixer_01',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(79,10,'mixer_02',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(80,10,'mixer_03',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(81,11,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(82,11,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(83,11,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(84,11,'vocab_size',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(85,11,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(86,11,'mixer_01',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(87,11,'mixer_02',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(88,11,'mixer_03',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(89,12,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(90,12,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(91,12,'feed_forward',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(92,12,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(93,12,'mixer_00',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(94,12,'mixer_01',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(95,12,'mixer_02',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(96,12,'mixer_03',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(97,13,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(98,13,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(99,13,'feed_forward',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(100,13,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(101,13,'mixer_00',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(102,13,'mixer_01',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(103,13,'mixer_02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(104,13,'mixer_03',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(105,14,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(106,14,'width',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(107,14,'feed_forward',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(108,14,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(109,14,'mixer_00',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(110,14,'mixer_01',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(111,14,'mixer_02',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(112,14,'mixer_03',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(113,15,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(114,15,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(115,15,'feed_forward',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(116,15,'vocab_size',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(117,15,'mixer_00',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(118,15,'mixer_01',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(119,15,'mixer_02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(120,15,'mixer_03',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(121,16,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(122,16,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(123,16,'feed_forward',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(124,16,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(125,16,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(126,16,'mixer_01',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(127,16,'mixer_02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(128,16,'mixer_03',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(129,17,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(130,17,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(131,17,'feed_forward',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(132,17,'vocab_size',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(133,17,'mixer_00',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(134,17,'mixer_01',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(135,17,'mixer_02',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(136,17,'mixer_03',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(137,18,'depth',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(138,18,'width',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(139,18,'feed_forward',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO "trial_params" VALUES(140,18,'vocab_size',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1}}');
INSERT INTO "trial_params" VALUES(141,18,'mixer_00',4.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(142,18,'mixer_01',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(143,18,'mixer_02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
INSERT INTO "trial_params" VALUES(144,18,'mixer_03',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["c", "a", "s", "l", "-"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'constraints:parameters','-0.682595572589123');
INSERT INTO "trial_system_attributes" VALUES(2,1,'constraints:decode.max','-0.7381073898305085');
INSERT INTO "trial_system_attributes" VALUES(3,1,'constraints:memory.max','-0.40927100000000005');
INSERT INTO "trial_system_attributes" VALUES(4,2,'constraints:parameters','-0.5237157789787196');
INSERT INTO "trial_system_attributes" VALUES(5,2,'constraints:decode.max','-0.7237498305084746');
INSERT INTO "trial_system_attributes" VALUES(6,2,'constraints:memory.max','-0.6063275');
INSERT INTO "trial_system_attributes" VALUES(7,3,'constraints:parameters','-0.5915388637155803');
INSERT INTO "trial_system_attributes" VALUES(8,3,'constraints:memory.max','-0.54096');
INSERT INTO "trial_system_attributes" VALUES(9,4,'constraints:parameters','-0.5594158220408525');
INSERT INTO "trial_system_attributes" VALUES(10,4,'constraints:decode.max','-0.39757993220338994');
INSERT INTO "trial_system_attributes" VALUES(11,4,'constraints:memory.max','-0.27857600000000005');
INSERT INTO "trial_system_attributes" VALUES(12,5,'constraints:parameters','-0.12077709237467557');
INSERT INTO "trial_system_attributes" VALUES(13,5,'constraints:decode.max','-0.840472813559322');
INSERT INTO "trial_system_attributes" VALUES(14,5,'constraints:memory.max','-0.7867435');
INSERT INTO "trial_system_attributes" VALUES(15,6,'constraints:parameters','0.2699122236671001');
INSERT INTO "trial_system_attributes" VALUES(16,7,'constraints:parameters','-0.5602390423296307');
INSERT INTO "trial_system_attributes" VALUES(17,7,'constraints:decode.max','-0.40979850847457633');
INSERT INTO "trial_system_attributes" VALUES(18,7,'constraints:memory.max','-0.5736319999999999');
INSERT INTO "trial_system_attributes" VALUES(19,8,'constraints:parameters','-0.009294480729204049');
INSERT INTO "trial_system_attributes" VALUES(20,8,'constraints:memory.max','0.11464000000000008');
INSERT INTO "trial_system_attributes" VALUES(21,9,'constraints:parameters','-0.36476853859496966');
INSERT INTO "trial_system_attributes" VALUES(22,9,'constraints:decode.max','-0.37758155932203386');
INSERT INTO "trial_system_attributes" VALUES(23,9,'constraints:memory.max','-0.704832');
INSERT INTO "trial_system_attributes" VALUES(24,10,'constraints:parameters','-0.3649406600552756');
INSERT INTO "trial_system_attributes" VALUES(25,10,'constraints:memory.max','-0.704752');
INSERT INTO "trial_system_attributes" VALUES(26,11,'constraints:parameters','-0.18435882991380304');
INSERT INTO "trial_system_attributes" VALUES(27,11,'constraints:decode.max','-0.5647781694915254');
INSERT INTO "trial_system_attributes" VALUES(28,11,'constraints:memory.max','-0.7701195000000001');
INSERT INTO "trial_system_attributes" VALUES(29,12,'constraints:parameters','-0.6425793759721841');
INSERT INTO "trial_system_attributes" VALUES(30,12,'constraints:decode.max','0.023618169491525398');
INSERT INTO "trial_system_attributes" VALUES(31,12,'constraints:memory.max','-0.47540800000000005');
INSERT INTO "trial_system_attributes" VALUES(32,13,'constraints:parameters','-0.22477374346379078');
INSERT INTO "trial_system_attributes" VALUES(33,13,'constraints:decode.max','-0.5814136949152543');
INSERT INTO "trial_system_attributes" VALUES(34,13,'constraints:memory.max','-0.08146299999999995');
INSERT INTO "trial_system_attributes" VALUES(35,14,'constraints:parameters','-0.23765612802498048');
INSERT INTO "trial_system_attributes" VALUES(36,14,'constraints:memory.max','-0.754048');
INSERT INTO "trial_system_attributes" VALUES(37,15,'constraints:parameters','0.3648094258893515');
INSERT INTO "trial_system_attributes" VALUES(38,16,'constraints:parameters','-0.1435053470310027');
INSERT INTO "trial_system_attributes" VALUES(39,16,'constraints:decode.max','-0.6315072542372882');
INSERT INTO "trial_system_attributes" VALUES(40,16,'constraints:memory.max','-0.016182999999999947');
INSERT INTO "trial_system_attributes" VALUES(41,17,'constraints:parameters','-0.22500846616962175');
INSERT INTO "trial_system_attributes" VALUES(42,17,'constraints:decode.max','-0.31027498305084744');
INSERT INTO "trial_system_attributes" VALUES(43,17,'constraints:memory.max','-0.08163900000000002');
INSERT INTO "trial_system_attributes" VALUES(44,18,'constraints:parameters','-0.4300168805548211');
INSERT INTO "trial_system_attributes" VALUES(45,18,'constraints:decode.max','-0.4476734915254238');
INSERT INTO "trial_system_attributes" VALUES(46,18,'constraints:memory.max','-0.21329600000000004');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'nas','{"trial": 0, "state": "complete", "layout": "--l-", "architecture": "28450b725d691801"}');
INSERT INTO "trial_user_attributes" VALUES(2,2,'nas','{"trial": 1, "state": "complete", "layout": "-c-l", "architecture": "06e0b61aa9df7e5a"}');
INSERT INTO "trial_user_attributes" VALUES(3,3,'nas','{"trial": 2, "state": "failed", "layout": "-c--", "architecture": "8a1e3d80730e8760"}');
INSERT INTO "trial_user_attributes" VALUES(4,4,'nas','{"trial": 3, "state": "stopped", "layout": "ac", "architecture": "2e6cb10dbbabf465"}');
INSERT INTO "trial_user_attributes" VALUES(5,5,'nas','{"trial": 4, "state": "complete", "layout": "-l", "architecture": "c8e26e42f63056ad"}');
INSERT INTO "trial_user_attributes" VALUES(6,7,'nas','{"trial": 5, "state": "stopped", "layout": "ssc-", "architecture": "ca361ff918ada239"}');
INSERT INTO "trial_user_attributes" VALUES(7,8,'nas','{"trial": 6, "state": "infeasible", "layout": "cs", "architecture": "aa9242615c91622e"}');
INSERT INTO "trial_user_attributes" VALUES(8,9,'nas','{"trial": 7, "state": "complete", "layout": "sa--", "architecture": "8c04b17be0ae3db6"}');
INSERT INTO "trial_user_attributes" VALUES(9,10,'nas','{"trial": 8, "state": "failed", "layout": "-c-a", "architecture": "984536bbfe809791"}');
INSERT INTO "trial_user_attributes" VALUES(10,11,'nas','{"trial": 9, "state": "stopped", "layout": "-csl", "architecture": "c75d82e55f302932"}');
INSERT INTO "trial_user_attributes" VALUES(11,12,'nas','{"trial": 10, "state": "infeasible", "layout": "as-a", "architecture": "e4d6b758c7d1453b"}');
INSERT INTO "trial_user_attributes" VALUES(12,13,'nas','{"trial": 11, "state": "stopped", "layout": "cl", "architecture": "70a726e40621105d"}');
INSERT INTO "trial_user_attributes" VALUES(13,14,'nas','{"trial": 12, "state": "failed", "layout": "sa", "architecture": "7dad65312c4581fd"}');
INSERT INTO "trial_user_attributes" VALUES(14,16,'nas','{"trial": 13, "state": "complete", "layout": "-l", "architecture": "1ea5f4083c74f939"}');
INSERT INTO "trial_user_attributes" VALUES(15,17,'nas','{"trial": 14, "state": "stopped", "layout": "al", "architecture": "470466e15dfd36b6"}');
INSERT INTO "trial_user_attributes" VALUES(16,18,'nas','{"trial": 15, "state": "stopped", "layout": "-a", "architecture": "f78c638b3f2a08b8"}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,2.9134451261,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,7.72583199999999914453e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,2,0,2.71701205120000022219e+00,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,1,8.14937999999999940214e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,4,0,2.78364806410000031888e+00,'FINITE');
INSERT INTO "trial_values" VALUES(6,4,1,1.7771392,'FINITE');
INSERT INTO "trial_values" VALUES(7,5,0,2.93336491050000036651e+00,'FINITE');
INSERT INTO "trial_values" VALUES(8,5,1,0.4706052,'FINITE');
INSERT INTO "trial_values" VALUES(9,7,0,2.75500639409999958928e+00,'FINITE');
INSERT INTO "trial_values" VALUES(10,7,1,1.7410944,'FINITE');
INSERT INTO "trial_values" VALUES(11,9,0,2.690087756,'FINITE');
INSERT INTO "trial_values" VALUES(12,9,1,1.83613440000000016638e+00,'FINITE');
INSERT INTO "trial_values" VALUES(13,11,0,2.746455856,'FINITE');
INSERT INTO "trial_values" VALUES(14,11,1,1.28390440000000016773e+00,'FINITE');
INSERT INTO "trial_values" VALUES(15,13,0,2.8622258729,'FINITE');
INSERT INTO "trial_values" VALUES(16,13,1,1.23482959999999986067e+00,'FINITE');
INSERT INTO "trial_values" VALUES(17,16,0,2.67417350130000031072e+00,'FINITE');
INSERT INTO "trial_values" VALUES(18,16,1,1.0870536,'FINITE');
INSERT INTO "trial_values" VALUES(19,17,0,2.84197112080000025002e+00,'FINITE');
INSERT INTO "trial_values" VALUES(20,17,1,2.0346888,'FINITE');
INSERT INTO "trial_values" VALUES(21,18,0,2.92062210559999968495e+00,'FINITE');
INSERT INTO "trial_values" VALUES(22,18,1,1.6293632,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-28 07:47:13.565641','2026-11-28 07:47:13.729688');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-28 07:47:13.751065','2026-11-28 07:47:13.898446');
INSERT INTO "trials" VALUES(3,2,1,'FAIL','2026-11-28 07:47:13.918960','2026-11-28 07:47:14.029513');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-28 07:47:14.046891','2026-11-28 07:47:14.194410');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-28 07:47:14.210709','2026-11-28 07:47:14.354475');
INSERT INTO "trials" VALUES(6,5,1,'PRUNED','2026-11-28 07:47:14.370992','2026-11-28 07:47:14.433616');
INSERT INTO "trials" VALUES(7,6,1,'COMPLETE','2026-11-28 07:47:14.444170','2026-11-28 07:47:14.658933');
INSERT INTO "trials" VALUES(8,7,1,'PRUNED','2026-11-28 07:47:14.682768','2026-11-28 07:47:14.861563');
INSERT INTO "trials" VALUES(9,8,1,'COMPLETE','2026-11-28 07:47:14.980044','2026-11-28 07:47:15.214370');
INSERT INTO "trials" VALUES(10,9,1,'FAIL','2026-11-28 07:47:15.238712','2026-11-28 07:47:15.421512');
INSERT INTO "trials" VALUES(11,10,1,'COMPLETE','2026-11-28 07:47:15.447153','2026-11-28 07:47:15.678425');
INSERT INTO "trials" VALUES(12,11,1,'PRUNED','2026-11-28 07:47:15.703095','2026-11-28 07:47:15.905897');
INSERT INTO "trials" VALUES(13,12,1,'COMPLETE','2026-11-28 07:47:15.931124','2026-11-28 07:47:16.163880');
INSERT INTO "trials" VALUES(14,13,1,'FAIL','2026-11-28 07:47:16.187348','2026-11-28 07:47:16.313355');
INSERT INTO "trials" VALUES(15,14,1,'PRUNED','2026-11-28 07:47:16.330837','2026-11-28 07:47:16.385528');
INSERT INTO "trials" VALUES(16,15,1,'COMPLETE','2026-11-28 07:47:16.396212','2026-11-28 07:47:16.530675');
INSERT INTO "trials" VALUES(17,16,1,'COMPLETE','2026-11-28 07:47:16.547247','2026-11-28 07:47:16.686453');
INSERT INTO "trials" VALUES(18,17,1,'COMPLETE','2026-11-28 07:47:16.702789','2026-11-28 07:47:16.838456');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE INDEX nas_trials_by_architecture ON nas_trials (study, architecture);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
