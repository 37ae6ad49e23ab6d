// SPDX-License-Identifier: Apache-2.0
// Put, get, prefix, delete and txn through npm's etcd3. Prints "ok" when all is as it should be.
'use strict';

const assert = require('assert');
const fs = require('fs');
const { Etcd3 } = require('etcd3');

const [endpoint, ca, certificate, key] = process.argv.slice(2);

async function main() {
  const client = new Etcd3({
    hosts: endpoint,
    credentials: {
      rootCertificate: fs.readFileSync(ca),
      certChain: fs.readFileSync(certificate),
      privateKey: fs.readFileSync(key),
    },
  });
  try {
    await client.put('npm/a').value('1');
    assert.strictEqual(await client.get('npm/a').string(), '1');
    assert.strictEqual(await client.get('npm/nothing').string(), null);

    await client.put('npm/b').value('2');
    await client.put('npm/c').value('3');
    const all = await client.getAll().prefix('npm/').strings();
    assert.deepStrictEqual(all, { 'npm/a': '1', 'npm/b': '2', 'npm/c': '3' });
    const limited = await client.getAll().prefix('npm/').sort('Key', 'Descend').limit(1).keys();
    assert.deepStrictEqual(limited, ['npm/c']);
    assert.strictEqual(await client.getAll().prefix('npm/').count(), 3);

    const taken = await client
      .if('npm/a', 'Value', '==', '1')
      .then(client.put('npm/a').value('4'), client.get('npm/a'))
      .else(client.delete().key('npm/a'))
      .commit();
    assert.strictEqual(taken.succeeded, true);
    assert.strictEqual(await client.get('npm/a').string(), '4');
    const notTaken = await client
      .if('npm/a', 'Version', '==', 0)
      .then(client.put('npm/a').value('5'))
      .commit();
    assert.strictEqual(notTaken.succeeded, false);

    const deleted = await client.delete().key('npm/b');
    assert.strictEqual(deleted.deleted, '1');
    assert.strictEqual((await client.delete().prefix('npm/')).deleted, '2');
    assert.strictEqual(await client.getAll().prefix('npm/').count(), 0);
    await assert.rejects(client.put('').value('x'), /key is not provided/);
    console.log('ok');
  } finally {
    client.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
