// An OCPP peer that owes us nothing: ocpp-rpc in strict mode answers what a charger sends, and reports as JSON lines what it thinks of it.
// out: {listening} {station, protocol} {station, call, payload} {station, answer, payload} {station, violation, method, payload}
// in:  {station, method, params} makes a call to that station
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { RPCServer, createValidator } from 'ocpp-rpc';

const say = (line) => console.log(JSON.stringify(line));
const now = () => new Date().toISOString();
const idTagInfo = { status: 'Accepted' };
const idTokenInfo = { status: 'Accepted' };
let transactionId = 0;

const boot = () => ({ status: 'Accepted', currentTime: now(), interval: 300 });
const answers2 = {
  BootNotification: boot,
  Heartbeat: () => ({ currentTime: now() }),
  Authorize: () => ({ idTokenInfo }),
  TransactionEvent: ({ idToken }) => (idToken ? { idTokenInfo } : {}),
  DataTransfer: () => ({ status: 'UnknownVendorId' }),
};
const answers = {
  'ocpp1.6': {
    BootNotification: boot,
    Heartbeat: () => ({ currentTime: now() }),
    Authorize: () => ({ idTagInfo }),
    StartTransaction: () => ({ idTagInfo, transactionId: ++transactionId }),
    StopTransaction: () => ({ idTagInfo }),
    DataTransfer: () => ({ status: 'UnknownVendorId' }),
  },
  'ocpp2.0.1': answers2,
  'ocpp2.1': answers2,
};

// ocpp-rpc 2.2.1 carries the schemas of 2.1 under names (XRequest) that its own strict mode (X.req) does not look for.
const named21 = createRequire(import.meta.url)('ocpp-rpc/lib/schemas/ocpp2_1.json').map((schema) => ({
  ...schema,
  $id: schema.$id.replace(/Request$/, '.req').replace(/Response$/, '.conf'),
}));

const stations = new Map();
const strictModeValidators = [createValidator('ocpp2.1', named21)];
const server = new RPCServer({ protocols: Object.keys(answers), strictMode: true, strictModeValidators });
server.auth((accept) => accept());
server.on('client', (client) => {
  const station = client.identity;
  stations.set(station, client);
  say({ station, protocol: client.protocol });
  client.on('strictValidationFailure', ({ method, params, result, outbound, isCall, error }) => {
    // What we answer ourselves is judged as well, but a fault there is ours: it must not be counted against the charger.
    const violation = outbound ? `the judge itself: ${error.message}` : error.message;
    say({ station, violation, method, payload: isCall ? params : result });
  });
  client.on('badMessage', ({ error, buffer }) => say({ station, violation: error.message, method: null, payload: String(buffer) }));
  // Everything without an answer of its own has an empty one (StatusNotification, MeterValues, NotifyReport …).
  client.handle(({ method, params }) => {
    say({ station, call: method, payload: params });
    return answers[client.protocol][method]?.(params) ?? {};
  });
});

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { station, method, params } = JSON.parse(line);
    stations.get(station).call(method, params).then(
      (payload) => say({ station, answer: method, payload }),
      (error) => say({ station, answer: method, error: error.rpcErrorCode ?? error.message }),
    );
  })
  .on('close', () => process.exit(0));

const http = await server.listen(0, '127.0.0.1');
say({ listening: http.address().port });
