// A short story with the AWS SDK for JavaScript, which shares no code with ebsim or botocore.
//
// It makes a snapshot of a volume that a test filled, lists what changed since an earlier one, reads
// the block, writes a snapshot block by block, and prints what it saw as JSON. Run with
// `node story.cjs ENDPOINT VOLUME EARLIER`; the credentials are in the environment.

const { createHash } = require("node:crypto");
const { EBSClient, ...ebs } = require("@aws-sdk/client-ebs");
const { EC2Client, ...ec2 } = require("@aws-sdk/client-ec2");

const [endpoint, VolumeId, earlier] = process.argv.slice(2);
const BLOCK_SIZE = 512 * 1024;
const place = { endpoint, region: "us-east-1", maxAttempts: 1 };
const [cloud, blocks] = [new EC2Client(place), new EBSClient(place)];
const sha256 = (data) => createHash("sha256").update(data).digest();

async function completed(SnapshotId) {
  const waiting = { client: cloud, maxWaitTime: 60, minDelay: 0.02, maxDelay: 0.2 };
  await ec2.waitUntilSnapshotCompleted(waiting, { SnapshotIds: [SnapshotId] });
}

async function readBlocks(SnapshotId) {
  const found = {};
  const { Blocks } = await blocks.send(new ebs.ListSnapshotBlocksCommand({ SnapshotId }));
  for (const { BlockIndex, BlockToken } of Blocks) {
    const asked = new ebs.GetSnapshotBlockCommand({ SnapshotId, BlockIndex, BlockToken });
    const got = await blocks.send(asked);
    const data = await got.BlockData.transformToByteArray();
    if (sha256(data).toString("base64") !== got.Checksum) throw new Error("another checksum");
    found[BlockIndex] = sha256(data).toString("hex");
  }
  return found;
}

async function refusal(client, command) {
  try {
    await client.send(command);
  } catch (error) {
    return [error.name, error.$metadata.httpStatusCode, error.Reason ?? null];
  }
  throw new Error("nothing was refused");
}

async function story() {
  const seen = {};
  const Tags = [{ Key: "Name", Value: "<from> & JavaScript" }];
  const TagSpecifications = [{ ResourceType: "snapshot", Tags }];
  const taken = await cloud.send(new ec2.CreateSnapshotCommand({ VolumeId, TagSpecifications }));
  seen.state = taken.State;
  await completed(taken.SnapshotId);
  const asked = { SnapshotIds: [taken.SnapshotId] };
  const { Snapshots } = await cloud.send(new ec2.DescribeSnapshotsCommand(asked));
  seen.tags = Snapshots[0].Tags;
  seen.start = Snapshots[0].StartTime.toISOString();
  seen.snapshot = taken.SnapshotId;

  const between = { FirstSnapshotId: earlier, SecondSnapshotId: taken.SnapshotId };
  const changed = await blocks.send(new ebs.ListChangedBlocksCommand(between));
  seen.changed = changed.ChangedBlocks.map((each) => each.BlockIndex);
  seen.read = await readBlocks(taken.SnapshotId);

  const started = await blocks.send(new ebs.StartSnapshotCommand({ VolumeSize: 1 }));
  const data = Buffer.alloc(BLOCK_SIZE, "written by JavaScript ");
  const put = { SnapshotId: started.SnapshotId, BlockIndex: 9, BlockData: data };
  const Checksum = sha256(data).toString("base64");
  const proof = { DataLength: BLOCK_SIZE, Checksum, ChecksumAlgorithm: "SHA256" };
  await blocks.send(new ebs.PutSnapshotBlockCommand({ ...put, ...proof }));
  await blocks.send(
    new ebs.CompleteSnapshotCommand({ SnapshotId: started.SnapshotId, ChangedBlocksCount: 1 }),
  );
  await completed(started.SnapshotId);
  seen.written = started.SnapshotId;
  seen.writtenBlocks = await readBlocks(started.SnapshotId);

  const missing = { SnapshotId: "snap-00000000000000000" };
  const credentials = { accessKeyId: "AKIANOBODY0000000000", secretAccessKey: "secret" };
  const list = new ebs.ListSnapshotBlocksCommand(missing);
  seen.refused = [
    await refusal(cloud, new ec2.DeleteSnapshotCommand(missing)),
    await refusal(blocks, list),
    await refusal(cloud, new ec2.DescribeVpcsCommand({})),
    await refusal(new EC2Client({ ...place, credentials }), new ec2.DescribeVolumesCommand({})),
    await refusal(new EBSClient({ ...place, credentials }), list),
  ];
  return seen;
}

story().then(
  (seen) => console.log(JSON.stringify(seen)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
