// The Node contender: the AWS SDK and the smallest loop over the Runtime API. AWS's own runtime client is not used: npm
// compiles it, for which it needs autotools.

import http from 'node:http'
import { BedrockRuntimeClient, ConverseStreamCommand } from '@aws-sdk/client-bedrock-runtime'
import { NodeHttpHandler } from '@smithy/node-http-handler'

const MODEL = 'us.amazon.nova-lite-v1:0'
const HEAD = JSON.stringify({ statusCode: 200, headers: { 'content-type': 'text/event-stream' } }) + '\0'.repeat(8)
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':')
const agent = new http.Agent({ keepAlive: true })
// The SDK's default is HTTP/2, which the server of the benchmark does not have.
const client = new BedrockRuntimeClient({ requestHandler: new NodeHttpHandler() })

const next = () =>
  new Promise((resolve, reject) => {
    const request = http.get({ host, port, agent, path: '/2018-06-01/runtime/invocation/next' }, async (response) => {
      let body = ''
      for await (const data of response) body += data
      resolve([response.headers['lambda-runtime-aws-request-id'], JSON.parse(body)])
    })
    request.on('error', reject)
  })

const post = (id) =>
  http.request({
    host,
    port,
    method: 'POST',
    path: `/2018-06-01/runtime/invocation/${id}/response`,
    headers: {
      'content-type': 'application/vnd.awslambda.http-integration-response',
      'lambda-runtime-function-response-mode': 'streaming',
      'transfer-encoding': 'chunked',
    },
  })

for (;;) {
  const [id, event] = await next()
  const { message } = JSON.parse(event.body)
  const response = post(id)
  response.setNoDelay(true)
  response.write(HEAD)
  const accepted = new Promise((resolve, reject) => {
    response.on('response', (reply) => reply.resume().on('end', resolve))
    response.on('error', reject)
  })
  const messages = [{ role: 'user', content: [{ text: message.text }] }]
  const { stream } = await client.send(new ConverseStreamCommand({ modelId: MODEL, messages }))
  for await (const { contentBlockDelta } of stream) {
    if (!contentBlockDelta) continue
    const data = JSON.stringify({ type: 'chunk', content: contentBlockDelta.delta.text })
    if (!response.write(`data: ${data}\n\n`)) await new Promise((resolve) => response.once('drain', resolve))
  }
  response.end('data: {"type":"complete"}\n\n')
  await accepted
}
