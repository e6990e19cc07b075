const http = require('http')

http.createServer((request, response) => {
  let size = 0
  request.on('data', (piece) => { size += piece.length })
  request.on('end', () => response.end(`${request.method} ${request.url} with ${size} bytes`))
}).listen(process.env.PORT)
